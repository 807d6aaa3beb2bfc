"""The story of a training from its state: a row for each segment, how often it was tried, each time memory ran out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from deploytk.training.segments import Step
from deploytk.training.state import State

#: What ends a segment without anything being wrong.
_PLANNED = frozenset({"done", "early_stop", "rule"})


def rows(state: State) -> list[dict[str, Any]]:
    """One row for each segment: when, which epochs, with which settings, how it ended and why."""
    return [_row(number, step) for number, step in enumerate(state.steps, start=1)]


def _row(number: int, step: Step) -> dict[str, Any]:
    segment, outcome = step.segment, step.outcome
    return {
        "segment": number,
        "start": _moment(step.began),
        "seconds": step.seconds,
        "epochs": f"{segment.first_epoch}..{segment.last_epoch}",
        "reached": outcome.reached if outcome else None,
        "batch": f"{segment.batch} x {segment.accumulate}",
        "imgsz": segment.imgsz,
        "lr_scale": segment.lr_scale,
        "precision": (outcome.precision if outcome else "") or segment.precision,
        "because": segment.reason,
        "ended": outcome.ended if outcome else "cut off",
        "reason": outcome.reason if outcome else "deploytk itself was stopped",
    }


def attempts(state: State) -> int:
    """How often the training was begun or gone on with: 1 where nothing went wrong on the way."""
    gone_wrong = [s for s in state.steps[:-1] if s.outcome is None or s.outcome.ended not in _PLANNED]
    return 1 + len(gone_wrong)


def oom_ledger(state: State, device: str) -> list[dict[str, Any]]:
    """Each time memory ran out: when, where, and what was done about it."""
    after: list[Step | None] = [*state.steps[1:], None]
    return [
        _memory_row(step, following, device)
        for step, following in zip(state.steps, after, strict=False)
        if step.outcome and step.outcome.ended == "oom"
    ]


def _memory_row(step: Step, following: Step | None, device: str) -> dict[str, Any]:
    segment, outcome = step.segment, step.outcome
    then = following.segment if following else None
    return {
        "time": _moment(None if step.began is None else step.began + (step.seconds or 0.0)),
        "epoch": (outcome.reached if outcome else segment.first_epoch - 1) + 1,
        "imgsz": segment.imgsz,
        "batch": segment.batch,
        "accumulate": segment.accumulate,
        "device": device,
        "message": outcome.reason if outcome else "",
        "then": then and {"batch": then.batch, "accumulate": then.accumulate},
        "done": then.reason if then else "the training ended",
    }


def table(state: State) -> str:
    """The timeline as lines of text, for a log."""
    return "\n".join(
        f"{r['segment']:>3}  {r['start'] or '?':25}  epochs {r['epochs']:9} reached {r['reached'] or 0:<4} "
        f"{r['seconds'] or 0:>8} s  batch {r['batch']:8} {r['imgsz']} px  lr x {r['lr_scale']:g}  {r['ended']}: "
        f"{r['reason']}"
        for r in rows(state)
    )


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
