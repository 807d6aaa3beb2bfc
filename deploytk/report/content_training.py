"""What the report says about a training: its segments, milestones, advice, where memory ran out, its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, code, number, text, yes
from deploytk.report.content_generic import generic, scalar

#: Keys of the section that have a table here, or stand elsewhere in the report.
_OWN = frozenset({"timeline", "milestones", "advice", "memory", "checkpoints", "ended", "attempts"})
_ELSEWHERE = frozenset({"epochs", "findings", "versions"})
_FINE = frozenset({"done", "early_stop", "rule"})


def train_block(report: Report) -> list[Block]:
    """The training as it went, with its curves; whatever else the backend told of it below."""
    told = report.sections.get("train")
    if not isinstance(told, Mapping) or not told:
        return []
    rest = {key: value for key, value in told.items() if key not in _OWN | _ELSEWHERE}
    own = [table for key, make in _TABLES.items() if (table := make(_rows(told, key)))]
    tables = (*own, *(replace(table, brief=False) for table in generic(rest)))
    return [Block(name="train", title="Training", lines=tuple(_lines(told)), tables=tables, figures=("training",))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    epochs = told.get("epochs")
    count = len(epochs) if isinstance(epochs, Sequence) else epochs
    if count:
        yield f"{count} epoch{'' if count == 1 else 's'}."
    if told.get("ended"):
        yield f"Ended: {told['ended']}."
    attempts = told.get("attempts")
    if isinstance(attempts, int) and attempts > 1:
        yield f"Begun or gone on with {attempts} times."
    stones = _rows(told, "milestones")
    if stones:
        yield f"{sum(stone.get('met') is True for stone in stones)} of {len(stones)} milestones were met."


def _rows(told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = told.get(key)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list | tuple) else []


def _segments(rows: list[Mapping[str, Any]]) -> Table | None:
    columns = ("start", "seconds", "epochs", "reached", "batch", "imgsz", "lr_scale", "precision", "because")
    return _table("Segments", ("segment", *columns, "ended", "reason"), rows, folded_from=12, ended=_ended)


def _ended(value: Any) -> Cell:
    tone: Tone = "" if str(value) in _FINE else "warn"
    return text(value, tone)


def _milestones(rows: list[Mapping[str, Any]]) -> Table | None:
    return _table("Milestones", ("epoch", "metric", "at_least", "reached", "met"), rows, met=yes)


def _advice(rows: list[Mapping[str, Any]]) -> Table | None:
    def done(auto: Any) -> Cell:
        return text("done" if auto else "advised")

    return _table("Phase rules", ("epoch", "reason", "auto"), rows, auto=done)


def _memory(rows: list[Mapping[str, Any]]) -> Table | None:
    columns = ("time", "epoch", "imgsz", "batch", "accumulate", "device", "message", "done")
    return _table("Where memory ran out, and what was done", columns, rows)


def _checkpoints(rows: list[Mapping[str, Any]]) -> Table | None:
    def best(value: Any) -> Cell:
        return text("best", "good") if value is True else text(None)

    return _table("Checkpoints that are kept", ("epoch", "file", "fitness", "best", "pick"), rows, file=code, best=best)


def _table(
    title: str,
    columns: tuple[str, ...],
    rows: list[Mapping[str, Any]],
    *,
    folded_from: int = 20,
    **special: Callable[[Any], Cell],
) -> Table | None:
    """The rows under `columns`, None where there are none; `special` makes the cells of some columns."""
    if not rows:
        return None
    told = tuple(tuple(special.get(c, _cell)(row.get(c)) for c in columns) for row in rows)
    shown = tuple(column.replace("_", " ") for column in columns)
    return Table(columns=shown, rows=told, title=title, folded=len(told) > folded_from)


def _cell(value: Any) -> Cell:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else scalar(value)


_TABLES: dict[str, Callable[[list[Mapping[str, Any]]], Table | None]] = {
    "timeline": _segments,
    "milestones": _milestones,
    "advice": _advice,
    "memory": _memory,
    "checkpoints": _checkpoints,
}
