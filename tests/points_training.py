"""A network of a few weights on points of two classes, trained by the loop: here, or in several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deploytk.profile import Profile
from deploytk.training.following import Follower
from deploytk.training.loop import group, snapshots
from deploytk.training.loop.loop import Loop
from deploytk.training.loop.task import Measured, Task
from deploytk.training.segments import Segment, as_dict
from deploytk.training.state import Folder
from deploytk.training.watch import Watch

IMAGES = 20


class Points(torch.utils.data.Dataset):  # type: ignore[type-arg, misc, unused-ignore]
    """Points of two classes, on either side of a line."""

    def __init__(self) -> None:
        self.inputs = torch.randn(IMAGES, 4, generator=torch.Generator().manual_seed(5))
        self.labels = (self.inputs[:, 0] + 0.5 * self.inputs[:, 1] > 0).long()

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[key[1]], self.labels[key[1]]


def collate(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def task(dropout: float = 0.0, smoothing: float = 0.0, logits: Callable[..., Any] | None = None) -> Task:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
    points = Points()

    def validate(average: nn.Module) -> Measured:
        found = average(points.inputs)
        right = float((found.argmax(1) == points.labels).float().mean())
        return Measured(fitness=right, metrics={"top1": right})

    return Task(
        model=model,
        sections=[list(model[3].parameters()), list(model[0].parameters())],
        images=IMAGES,
        dataset=points,
        collate=collate,
        logits=logits or (lambda network, batch: network(batch[0])),
        loss=lambda found, batch: functional.cross_entropy(found, batch[1], label_smoothing=smoothing),
        validate=validate,
    )


def profile(**train: Any) -> Profile:
    settings = {
        "epochs": 4, "imgsz": 32, "batch": 4, "optimizer": "SGD", "lr0": 0.2, "momentum": 0.0, "warmup_epochs": 0,
        "workers": 0, "device": "cpu", "ema": None, "weight_decay": 0.0, **train,
    }  # fmt: skip
    return Profile.model_validate({"name": "points", "train": settings})


def train_part(told: dict[str, Any], run: str, segment: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
    """What each of several processes does; `faults`: "RANK@EPOCH" -> "oom" or "kill", each once."""
    wanted, part = Profile.model_validate(told), Segment(**segment)
    ours, device = group.joined(wanted.train)
    watch = (Watch if ours.first else Follower)(wanted, Path(run), part, precision="fp32")

    def logits(network: nn.Module, batch: Any) -> torch.Tensor:
        fault = faults.get(f"{ours.rank}@{loop.epoch}")
        done = Path(run) / f"{fault}-came"
        if fault and not done.exists():
            done.touch()
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return network(batch[0])

    loop = Loop(wanted, part, watch, task(logits=logits), device, ours)
    return as_dict(loop.run())


def weights(run: Path, epoch: int = 4, part: str = "ema") -> dict[str, torch.Tensor]:
    file = next(Folder(run=run).checkpoints.glob(f"*{epoch:04d}*"))
    told: dict[str, torch.Tensor] = snapshots.load(file)[part]
    return told


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)
