"""The one value that every reader of training logs gives: Curves, with the file and line of all it says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

NoteKind = Literal[
    "oom", "error", "traceback", "killed", "trouble", "duplicates", "auto_lr", "chosen_lr", "early_stop", "device",
    "class", "completed", "hidden_nan", "reading",
]  # fmt: skip
Unit = Literal["epoch", "step"]
#: Higher is better, and zero is nothing learned; the first that a log has is what it is judged by.
_BY_NAME = ("mAP50_95", "mAP50", "top1", "accuracy", "f1", "rougeL", "rouge1", "bleu")
_KINDS = ("", "(M)", "(P)")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One thing that was seen: `file:line` and the values there."""

    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was logged at one epoch (or step): `train/...`, `val/...`, `metric/...`, `lr/0`; NaN and infinity kept."""

    epoch: float
    where: str  # file:line
    values: Mapping[str, float]

    def bad(self) -> list[str]:
        """The names of what is NaN or infinite here."""
        return [name for name, value in self.values.items() if not math.isfinite(value)]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of the training, and where it stands."""

    value: Any
    where: str


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line that is no epoch and says something: an error, a device, duplicate labels."""

    kind: NoteKind
    where: str
    text: str
    value: float | None = None
    fatal: bool = False  # nothing was trained after it


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a series."""

    epoch: float
    value: float
    where: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """One quantity over the training, in the order it was trained."""

    name: str
    points: tuple[Point, ...]
    higher: bool = True  # whether higher is better

    def finite(self) -> tuple[Point, ...]:
        """The points that are numbers."""
        return tuple(p for p in self.points if math.isfinite(p.value))

    def best(self) -> Point | None:
        """The first of the best points."""
        sign = 1 if self.higher else -1
        return max(self.finite(), key=lambda p: sign * p.value, default=None)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A training as its log tells it, whatever wrote the log."""

    source: str
    kind: Literal["csv", "console", "trainer_state", "run"]
    rows: tuple[Row, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    status: Literal["", "running", "done", "failed"] = ""  # of a run of deploytk
    reason: str = ""
    ended: str = ""  # how its last segment ended
    planned: float | None = None  # epochs (steps where `unit` says so) that were asked for
    unit: Unit = "epoch"

    def names(self, prefix: str) -> list[str]:
        """The quantities whose names begin so, in the order of the log."""
        return list(dict.fromkeys(n for row in self.rows for n in row.values if n.startswith(prefix)))

    def series(self, name: str, *, higher: bool = True) -> Series:
        """One quantity, at the rows that have it."""
        points = [Point(epoch=r.epoch, value=r.values[name], where=r.where) for r in self.rows if name in r.values]
        return Series(name=name, points=tuple(points), higher=higher)

    def metric(self) -> Series | None:
        """The metric that the training is judged by; None where the log has losses alone."""
        for name in self._candidates():
            found = self.series(name)
            values = [p.value for p in found.finite()]
            if found.points and all(v >= 0 for v in values):
                return found
        return None

    def _candidates(self) -> list[str]:
        has = self.names("metric/")
        known = [f"metric/{name}{kind}" for name in _BY_NAME for kind in _KINDS]
        return [name for name in known if name in has] + (["fitness"] if self.names("fitness") else [])

    def loss(self, part: Literal["train", "val"]) -> Series:
        """The sum of the losses of training or validation."""
        names = self.total(part)
        points = [
            Point(epoch=r.epoch, value=sum(r.values[n] for n in names), where=r.where)
            for r in self.rows
            if names and all(n in r.values for n in names)
        ]
        return Series(name=f"{part} loss", points=tuple(points), higher=False)

    def total(self, part: Literal["train", "val"]) -> list[str]:
        """The columns that add up to the loss: `PART/loss` alone where there is one."""
        names = self.names(f"{part}/")
        return [f"{part}/loss"] if f"{part}/loss" in names else names

    def said(self, *kinds: NoteKind) -> Iterator[Note]:
        """The notes of these kinds."""
        return (note for note in self.notes if note.kind in kinds)

    def setting(self, name: str) -> Any:
        """The value of a setting, None where it is not known."""
        found = self.settings.get(name)
        return found.value if found else None
