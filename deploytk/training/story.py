"""The events of a training, folded into what is known of it now: for the live table, the reports and the sinks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: How a segment ended -> what the next one is, where it matters to a reader.
_MARKS = {
    "nan": "rollback",
    "collapse": "rollback",
    "oom": "out of memory",
    "rule": "phase rule",
    "crash": "tried again",
    "killed": "tried again",
    "timeout": "tried again",
    "early_stop": "more epochs",
}
#: Epochs that say how long the next ones take.
_RECENT = 5
_LONGEST = 600


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened between two epochs, to be drawn and told."""

    kind: str  # rollback, out of memory, resize, phase rule, tried again, more epochs, resumed
    epoch: int  # the first one after it
    text: str


@dataclass
class Story:
    """A training as its events tell it. `heard` takes whatever a line held and never raises."""

    epochs: int | None = None
    phase: str = "waiting"
    epoch: int | None = None
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    lr: float | None = None
    fitness: float | None = None
    memory_mb: float | None = None
    batch: int | None = None
    accumulate: int | None = None
    imgsz: int | None = None
    best: float | None = None
    best_epoch: int | None = None
    rollbacks: int = 0
    ooms: int = 0
    ok: bool | None = None  # how it ended, None while it has not
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)  # epoch -> its event, rolled back ones left out
    marks: list[Mark] = field(default_factory=list)
    milestones: list[dict[str, Any]] = field(default_factory=list)
    advice: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _ended: str | None = None  # how the last segment ended
    _seen: bool = False  # whether there was a segment
    _since: float | None = None
    _took: list[float] = field(default_factory=list)

    def heard(self, event: Mapping[str, Any]) -> None:
        """Take one event in; one that is unknown or damaged changes nothing."""
        kind = event.get("event")
        take = _TAKE.get(kind) if isinstance(kind, str) else None
        if take is not None:
            take(self, event)
        elif kind is None and whole(event.get("done")) is not None:
            self.epoch, self.epochs = whole(event.get("done")), whole(event.get("total")) or self.epochs
            self.phase = words(event.get("text")) or self.phase

    @property
    def eta_s(self) -> float | None:
        """How long the rest takes if it goes on as the last epochs went, None where that is not known."""
        if not self._took or self.epochs is None or self.epoch is None or self.ok is not None:
            return None
        left = self.epochs - max(self.rows, default=0)
        return statistics.median(self._took[-_RECENT:]) * left if left > 0 else None

    def _segment(self, event: Mapping[str, Any]) -> None:
        first = whole(event.get("first_epoch")) or 1
        size, before = whole(event.get("imgsz")), self.imgsz
        if self._seen:
            kind = _MARKS.get(self._ended or "", "resumed" if self._ended is None else "more epochs")
            kind = "resize" if self._ended == "done" and size != before else kind
            self.marks.append(Mark(kind=kind, epoch=first, text=words(event.get("reason"))))
            self.rollbacks += kind == "rollback"
        for gone in [epoch for epoch in self.rows if epoch >= first]:
            del self.rows[gone]
        self._best()
        self.epochs = whole(event.get("total_epochs")) or self.epochs
        self.batch, self.accumulate, self.imgsz = whole(event.get("batch")), whole(event.get("accumulate")), size
        self.phase, self.epoch, self.step = "start", first, None
        self._ended, self._seen, self.ok, self._since = None, True, None, None

    def _phase(self, event: Mapping[str, Any]) -> None:
        self.phase = words(event.get("phase"))
        if self._since is None and self.phase in {"first_step", "step"}:
            self._since = number(event.get("time"))

    def _step(self, event: Mapping[str, Any]) -> None:
        self.phase = "step"
        self.epoch = whole(event.get("epoch")) or self.epoch
        self.step, self.steps = whole(event.get("step")), whole(event.get("steps"))
        self.loss = number(event.get("loss"))
        self.lr = _or(number(event.get("lr")), self.lr)

    def _epoch(self, event: Mapping[str, Any]) -> None:
        epoch = whole(event.get("epoch"))
        if epoch is None:
            return
        self.epoch, self.step = epoch, None
        self.rows[epoch] = dict(event)
        self.loss = total(event.get("losses"))
        self.lr, self.memory_mb = number(event.get("lr")), _or(number(event.get("memory_mb")), self.memory_mb)
        self.fitness = number(event.get("fitness"))
        self._timed(event)
        self._best()

    def _timed(self, event: Mapping[str, Any]) -> None:
        now, since = number(event.get("time")), self._since
        took = now - since if now is not None and since is not None else number(event.get("seconds"))
        if took is not None and took >= 0:
            self._took.append(took)
        self._since = now

    def _best(self) -> None:
        """The healthy epoch with the highest fitness, the last of equal ones, as the shelf has it."""
        known = [
            (value, epoch)
            for epoch, row in self.rows.items()
            if (value := number(row.get("fitness"))) is not None and row.get("suspect") is not True
        ]
        self.best, self.best_epoch = max(known, default=(None, None))

    def _outcome(self, event: Mapping[str, Any]) -> None:
        self._ended = words(event.get("ended"))
        self.ooms += self._ended == "oom"

    def _milestone(self, event: Mapping[str, Any]) -> None:
        self.milestones.append(dict(event))

    def _advice(self, event: Mapping[str, Any]) -> None:
        self.advice.append(dict(event))

    def _warning(self, event: Mapping[str, Any]) -> None:
        self.warnings.append(words(event.get("reason")))

    def _end(self, event: Mapping[str, Any]) -> None:
        self.ok = event.get("ok") is True
        self.phase = "done" if self.ok else "failed"


_TAKE = {
    "segment": Story._segment,
    "phase": Story._phase,
    "step": Story._step,
    "epoch": Story._epoch,
    "outcome": Story._outcome,
    "milestone": Story._milestone,
    "advice": Story._advice,
    "warning": Story._warning,
    "end": Story._end,
}


def told(happened: Iterable[Mapping[str, Any]]) -> Story:
    """The story that a stream of events tells."""
    story = Story()
    for event in happened:
        story.heard(event)
    return story


def sentence(event: Mapping[str, Any]) -> str:
    """What a person is to know of an event at once, the empty string for all that runs as planned."""
    kind, reason = event.get("event"), words(event.get("reason"))
    if kind == "segment" and reason != "start":
        return f"from epoch {words(event.get('first_epoch'))}: {reason}"
    if kind == "warning":
        return f"warning: {reason}"
    if kind == "advice" and event.get("auto") is not True:
        return f"advice: {reason}"
    if kind == "milestone" and event.get("met") is not True:
        wanted = f"{words(event.get('metric'))} was to be {_short(event.get('at_least'))}"
        return f"milestone missed: {wanted} at epoch {words(event.get('epoch'))}, it is {_short(event.get('reached'))}"
    return f"failed: {reason}" if kind == "end" and event.get("ok") is not True else ""


def number(value: Any) -> float | None:
    """A finite number as float, None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A whole number of a size that epochs, batches and pixels have, None for everything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def words(value: Any) -> str:
    """A value as one line of printable text."""
    if value is None:
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)[:_LONGEST]).split())


def total(losses: Any) -> float | None:
    """The sum of an epoch's losses, None where there are none or one is not finite."""
    values = [number(v) for v in losses.values()] if isinstance(losses, Mapping) else []
    known = [v for v in values if v is not None]
    return sum(known) if known and len(known) == len(values) else None


def _short(value: Any) -> str:
    known = number(value)
    return words(value) if known is None else f"{known:.4g}"


def _or(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else value
