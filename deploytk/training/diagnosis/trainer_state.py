"""Curves from a trainer_state.json of Hugging Face: bare NaN, losses of 0.0 that hide NaN, several evaluation sets."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from deploytk.training.diagnosis import settings
from deploytk.training.diagnosis.curves import in_order
from deploytk.training.diagnosis.values import Curves, Note, Row, Unit

_SPEED = ("runtime", "per_second", "_steps", "_samples", "jit_compilation_time", "model_preparation_time")
#: From a loss above this, training does not reach exactly 0.0 (logged with four decimals) in one step.
_SUDDEN = 0.05
_HIDDEN = "a loss of exactly 0.0: logging_nan_inf_filter writes that where the loss is NaN"
_LOG = re.compile(r'"log_history"\s*:\s*\[')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One dict of the log, and where it begins."""

    told: Mapping[str, Any]
    where: str


def parse(text: str, name: str) -> Curves | None:
    """The curves in the text of a trainer_state.json called `name`; None where it is none. It may be cut short."""
    begin = _LOG.search(text)
    if begin is None:
        return None
    entries = _entries(text, begin.end(), name)
    rows, notes, unit = rows_of(entries)
    kept, again = in_order(rows)
    head = _head(text, begin.start())
    return Curves(
        source=name,
        kind="trainer_state",
        rows=kept,
        notes=(*notes, *again),
        settings=settings.named(head, name),
        planned=_float(head.get("max_steps" if unit == "step" else "num_train_epochs")),
        unit=unit,
    )


def _head(text: str, end: int) -> dict[str, Any]:
    """What stands beside log_history: all of it, or the numbers found where the file is cut short."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = dict(re.findall(r'"(max_steps|num_train_epochs|train_batch_size)"\s*:\s*(\d{1,9})', text[:end]))
    return told if isinstance(told, dict) else {}


def _entries(text: str, at: int, name: str) -> list[Entry]:
    """The dicts of the log, each with its line; those before the place where the file is cut."""
    found, line, seen = [], 1 + text.count("\n", 0, at), at
    while (begin := _skip(text, at)) is not None:
        try:
            told, at = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            break
        line, seen = line + text.count("\n", seen, begin), begin
        if isinstance(told, dict):
            found.append(Entry(told=told, where=f"{name}:{line}"))
    return found


def _skip(text: str, at: int) -> int | None:
    """Where the next value begins, None at the end of the list."""
    while at < len(text) and (text[at].isspace() or text[at] == ","):
        at += 1
    return at if at < len(text) and text[at] != "]" else None


def rows_of(entries: Sequence[Entry]) -> tuple[list[Row], list[Note], Unit]:
    """One row per step that was logged, its evaluation too; hidden NaN made NaN again; whether rows count epochs."""
    rows: dict[float, Row] = {}
    for entry in entries:
        step = _float(entry.told.get("step"))
        step = _float(entry.told.get("epoch")) if step is None else step
        values = _values(entry.told)
        if step is None or not math.isfinite(step) or not values:
            continue
        if step in rows:
            rows[step] = replace(rows[step], values={**rows[step].values, **values})
        else:
            rows[step] = Row(epoch=step, where=entry.where, values=values)
    named = [replace(row, values=_with_means(row.values)) for row in rows.values()]
    epochs = {_float(e.told.get("step")): _float(e.told.get("epoch")) for e in entries}
    shown, notes = _unhidden(named)
    numbered, unit = _as_epochs(shown, epochs)
    return numbered, notes, unit


def _as_epochs(rows: list[Row], epochs: Mapping[float | None, float | None]) -> tuple[list[Row], Unit]:
    """The rows numbered by epoch where each has one of its own, else by step (epochs are logged rounded)."""
    known = [e for row in rows if (e := epochs.get(row.epoch)) is not None and math.isfinite(e)]
    if len(known) != len(rows) or any(b <= a for a, b in pairwise(known)):
        return rows, "step"
    return [replace(row, epoch=e) for row, e in zip(rows, known, strict=True)], "epoch"


def _values(told: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for key, value in told.items():
        number, name = _float(value), _name(str(key))
        if number is not None and name:
            found[name] = number
    return found


def _name(key: str) -> str:
    """Our name of a key of the log, "" where it is none of a curve."""
    known = {"loss": "train/loss", "learning_rate": "lr/0", "grad_norm": "grad_norm", "eval_loss": "val/loss"}
    if key in known:
        return known[key]
    if not key.startswith("eval_") or any(word in key for word in _SPEED):
        return ""
    bare = key.removeprefix("eval_")
    return f"val/{bare}" if bare.endswith("_loss") else f"metric/{bare}"


def _with_means(values: Mapping[str, float]) -> dict[str, float]:
    """The values and, where several sets are evaluated, the mean over them as the plain loss and metric."""
    found = dict(values)
    groups: dict[str, list[float]] = {}
    for name, value in values.items():
        part, _, rest = name.partition("/")
        prefix, under, last = rest.rpartition("_")
        if under and prefix and part in ("val", "metric"):
            groups.setdefault(f"{part}/{last}", []).append(value)
    for name, several in groups.items():
        if len(several) > 1:
            found.setdefault(name, sum(several) / len(several))
    return found


def _unhidden(rows: list[Row]) -> tuple[list[Row], list[Note]]:
    shown, notes, before = [], [], 0.0
    for i, row in enumerate(rows):
        loss = row.values.get("train/loss")
        if loss == 0.0 and (_sick(row) or (before > _SUDDEN and _again(rows[i + 1 :]))):
            row = replace(row, values={**row.values, "train/loss": math.nan})
            notes.append(Note(kind="hidden_nan", where=row.where, text=_HIDDEN))
        elif loss is not None:
            before = loss
        shown.append(row)
    return shown, notes


def _sick(row: Row) -> bool:
    return not math.isfinite(row.values.get("grad_norm", 0.0)) or not math.isfinite(row.values.get("val/loss", 0.0))


def _again(rows: Sequence[Row]) -> bool:
    """Whether the next loss that is logged is 0.0 too, or none is."""
    return next((row.values["train/loss"] for row in rows if "train/loss" in row.values), 0.0) == 0.0


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
