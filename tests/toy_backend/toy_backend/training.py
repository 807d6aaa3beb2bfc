"""The loop: gradient descent with momentum on the squared error, told to a Watch as every backend's is."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.profile import Profile
from deploytk.training.guard import Facts
from deploytk.training.segments import Segment, as_dict
from deploytk.training.watch import SegmentEnded, Watch
from toy_backend import network
from toy_backend.checks import data_seed
from toy_backend.faults import Faults, hang, killed


def train_segment(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """Train one segment; its outcome."""
    wanted, part = Profile.model_validate(profile), Segment(**segment)
    watch = Watch(wanted, Path(run), part, precision="fp32" if part.precision == "auto" else part.precision)
    loop = Loop(wanted, part, watch, Faults(Path(run)))
    try:
        loop.load()
        for epoch in range(part.first_epoch, part.last_epoch + 1):
            if loop.epoch(epoch):
                break
    except SegmentEnded as ended:
        return as_dict(ended.outcome)
    except MemoryError as error:
        if "raise" in str(error):
            raise
        return as_dict(watch.out_of_memory(loop.now, error))
    return as_dict(watch.done())


class Loop:
    """One process's training of one segment."""

    def __init__(self, profile: Profile, segment: Segment, watch: Watch, faults: Faults) -> None:
        self.profile, self.segment, self.watch, self.faults = profile, segment, watch, faults
        self.now, self.opposite = segment.first_epoch, 1.0

    def load(self) -> None:
        """Data and network, as the last epoch left it."""
        self.watch.phase("load")
        if self.faults.due("hang-load"):
            hang()
        seed = data_seed(self.profile)
        self.inputs, self.classes = network.points(seed)
        self.held_out = network.points(seed + 1)
        self.tensors = network.fresh(self.profile)
        if self.segment.first_epoch > 1:
            last = next(e for e in self.watch.shelf.entries if e.epoch == self.segment.first_epoch - 1)
            self.tensors = network.checkpoint_tensors(self.watch.shelf.path(last))
        self.watch.phase("first_step")
        if self.faults.due("hang-first-step"):
            hang()

    def epoch(self, epoch: int) -> bool:
        """Train and tell one epoch; whether it was the last."""
        self.now, began = epoch, time.monotonic()
        self._trouble(epoch)
        losses = list(self._steps(epoch))
        if self.faults.due("nan", epoch):
            losses, self.tensors["weight"][0] = [float("nan")], np.nan
        if self.faults.due("collapse", epoch):
            self.opposite = -1.0
        shown = {**self.tensors, "weight": self.tensors["weight"] * self.opposite}
        metrics = network.measured(shown, *self.held_out)
        facts = Facts(
            epoch=epoch,
            losses={"loss": float(np.mean(losses))},
            metrics=metrics,
            fitness=metrics["accuracy"],
            grad_norm=self.norm if np.isfinite(self.norm) else None,
            steps=len(losses),
            sick=tuple(name for name, tensor in self.tensors.items() if not np.isfinite(tensor).all()),
            tensors=len(self.tensors),
        )
        return self.watch.epoch(facts, self._save, lr=self.rate(epoch), seconds=round(time.monotonic() - began, 3))

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch: a straight line to lrf over the whole training."""
        train, share = self.profile.train, (epoch - 1) / max(1, self.segment.total_epochs)
        start = train.lr0 if train.lr0 is not None else 0.02
        return start * self.segment.lr_scale * (1 - share * (1 - train.lrf))

    def _trouble(self, epoch: int) -> None:
        if self.faults.due("oom", epoch):
            raise MemoryError(f"toy: cannot allocate memory for a batch of {self.segment.batch}")
        if self.faults.due("oom-raise", epoch):
            raise MemoryError("raised")
        if self.faults.due("kill", epoch):
            killed()
        if self.faults.due("crash", epoch):
            raise ValueError(f"toy: a fault of the library in epoch {epoch}")
        if self.faults.due("hang", epoch):
            hang()

    def _steps(self, epoch: int) -> Iterator[float]:
        """The loss of each batch; a step of descent after every `accumulate` of them."""
        train, batch = self.profile.train, self.segment.batch
        order = np.random.default_rng([train.seed, epoch]).permutation(len(self.classes))
        whole = self.segment.effective_batch
        self.norm = 0.0
        steps = [order[at : at + whole] for at in range(0, len(order), whole)]
        for number, chosen in enumerate(steps, start=1):
            time.sleep(self.faults.slow_s)
            gradient, loss = np.zeros(3), 0.0
            for at in range(0, len(chosen), batch):
                inputs, classes = self.inputs[chosen[at : at + batch]], self.classes[chosen[at : at + batch]]
                wrong = network.scores(self.tensors, inputs) - classes
                gradient += inputs.T @ wrong / len(chosen)
                loss += float((wrong**2).sum()) / len(chosen)
            self._descend(gradient, self.rate(epoch))
            self.watch.step(epoch=epoch, step=number, steps=len(steps), loss=loss, lr=self.rate(epoch))
            yield loss

    def _descend(self, gradient: np.ndarray, rate: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.norm = max(self.norm, float(np.linalg.norm(gradient)))
            self.tensors["velocity"] = self.profile.train.momentum * self.tensors["velocity"] + gradient
            self.tensors["weight"] = self.tensors["weight"] - rate * self.tensors["velocity"]

    def _save(self, path: Path) -> None:
        network.write(path, self.tensors)
        half = path.read_bytes()[: path.stat().st_size // 2]
        if self.faults.due("kill-save", self.now):
            path.write_bytes(half)
            killed()
        if self.faults.due("disk-full", self.now):
            path.write_bytes(half)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
