"""Streams of events for tests: what a training tells, and what nothing sane ever told."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from deploytk.training.events import KINDS


def segment(first: int = 1, **fields: Any) -> dict[str, Any]:
    """A segment that begins."""
    told = {"first_epoch": first, "last_epoch": 9, "total_epochs": 9, "imgsz": 64, "batch": 16, "accumulate": 1}
    return {"event": "segment", "number": 1, "reason": "start", **told, **fields}


def epoch(number: int, fitness: float, **fields: Any) -> dict[str, Any]:
    """A healthy epoch, ten seconds after the one before."""
    told = {"losses": {"box": 1.0, "cls": 0.5}, "metrics": {"mAP50": fitness}, "lr": 0.01, "time": 10.0 * number}
    return {"event": "epoch", "epoch": number, "fitness": fitness, "suspect": False, **told, **fields}


def outcome(ended: str, **fields: Any) -> dict[str, Any]:
    """How a segment ended."""
    return {"event": "outcome", "ended": ended, "reached": 1, "reason": "why", **fields}


_KEYS = st.sampled_from(
    [
        "time", "phase", "epoch", "step", "steps", "loss", "lr", "losses", "metrics", "fitness", "memory_mb", "reason",
        "first_epoch", "total_epochs", "imgsz", "batch", "accumulate", "ended", "ok", "met", "metric", "at_least",
        "reached", "auto", "rule", "changes", "suspect", "seconds", "done", "total", "text",
    ]
)  # fmt: skip
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_KIND = st.sampled_from([*KINDS, "other"]) | _VALUES

#: Events of every kind with every value in every field, most of them senseless.
anything = st.lists(
    st.builds(lambda kind, fields: {**fields, "event": kind}, _KIND, st.dictionaries(_KEYS, _VALUES, max_size=8))
    | st.dictionaries(_KEYS, _VALUES, max_size=4),
    max_size=25,
)
