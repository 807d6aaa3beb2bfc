"""What the loops of a training's other processes talk to: nothing is told, judged or written by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploytk.profile import Profile
from deploytk.training.events import Events
from deploytk.training.guard import Facts
from deploytk.training.segments import Segment
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder
from deploytk.training.watch import Watch


class Follower(Watch):
    """A `Watch` that goes on as the first process's does; only a want of memory of its own is told."""

    def __init__(self, profile: Profile, run: Path, segment: Segment, *, precision: str = "") -> None:
        folder = Folder(run=run)
        self.profile, self.segment, self.precision = profile, segment, precision
        self.events, self.shelf = Events(folder.events), Shelf(folder.checkpoints, profile.keep)

    def phase(self, name: str) -> None:
        """Nothing."""

    def alive(self) -> None:
        """Nothing."""

    def step(
        self, *, epoch: int, step: int, steps: int, loss: float | Callable[[], float], lr: float | None = None
    ) -> None:
        """Nothing."""

    def epoch(self, facts: Facts, save: Callable[[Path], None], **told: Any) -> bool:  # noqa: ARG002
        """Whether it was the segment's last."""
        return facts.epoch >= self.segment.last_epoch
