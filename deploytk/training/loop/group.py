"""The processes that train one network together, each with a part of every batch (torch.distributed)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from deploytk import usage
from deploytk.profile_training import Train
from deploytk.training.loop import batches, devices
from deploytk.training.loop.batches import Key


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among those of a training; one that is alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that judges, tells and writes."""
        return self.rank == 0

    def part(self, batch: Sequence[Key]) -> list[Key]:
        """This process's part of a batch."""
        return batches.parts(batch, self.size)[self.rank] if self.size > 1 else list(batch)

    def wrapped(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The network, whose gradients become the mean of those of all processes on the way back.

        Statistics of BatchNorm stay those of each process, as they are those of each batch that is accumulated.
        """
        if self.size == 1:
            return model
        ids = [device] if device.type == "cuda" else None
        # Buffers are not sent on the way: R-Drop goes through the network twice, and that would change them between.
        return DistributedDataParallel(model, device_ids=ids, **{_BUFFERS_SENT: False})

    def silent(self, net: nn.Module, *, silent: bool) -> AbstractContextManager[None]:
        """Within it gradients stay with their process: all but the last batch of a step are only gathered."""
        held: AbstractContextManager[None] = nullcontext()
        if silent and isinstance(net, DistributedDataParallel):
            held = net.no_sync()
        return held

    def added(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of what each process has."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def same(self, model: nn.Module) -> None:
        """Give every process the tensors of the first: what is validated is what is kept."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                distributed.broadcast(tensor, 0)


#: What newer versions of torch call broadcast_buffers.
_BUFFERS_SENT = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel.__init__).parameters
)
#: A process that trains by itself.
ALONE = Group()


def joined(train: Train) -> tuple[Group, torch.device]:
    """(the group that torchrun has put this process into, this process's device); alone where it was not torchrun."""
    rank, size = int(os.environ.get("RANK", 0)), len(train.devices)
    device = devices.device_of(train.devices[rank])
    if size == 1:
        return Group(), device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usage.cores() // size))
    # A process waits for the others while one validates or saves: how long is the supervisor's to judge.
    patience = timedelta(seconds=train.timeout_s)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    return Group(rank=rank, size=size), device
