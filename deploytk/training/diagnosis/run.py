"""Curves from the folder of a run of deploytk: its events, its state, its results.csv and its profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.training import events, state
from deploytk.training.diagnosis import curves, settings
from deploytk.training.diagnosis.curves import in_order
from deploytk.training.diagnosis.text import number
from deploytk.training.diagnosis.values import Curves, Note, Row


def is_run(folder: Path) -> bool:
    """Whether deploytk has trained here, or tried to."""
    return (folder / "profile.json").is_file() or state.Folder(run=folder).path.is_dir()


def read(folder: Path) -> Curves:
    """The curves of a run: of its events where it was trained in segments, else of its results.csv.

    Raises:
        InputError: no training was begun here.
    """
    known = settings.beside(folder)
    told = list(events.read(state.Folder(run=folder).events))
    table = _table(folder)
    rows = _rows(told)
    if not told and table is None and not state.Folder(run=folder).state.is_file():
        raise InputError(f"{folder}: no training was begun here; begin one with: deploytk train --out {folder}")
    kept, again = in_order(rows)
    found = Curves(source=folder.name, kind="run", rows=kept, notes=(*_notes(told), *again))
    if not kept and table is not None:
        found = replace(found, rows=table.rows, notes=(*found.notes, *table.notes))
    return _with_state(replace(found, settings=known, planned=settings.planned(known)), folder)


def _table(folder: Path) -> Curves | None:
    places = [p for p in (folder / "results.csv", folder / "training" / "results.csv") if p.is_file()]
    try:
        return curves.read(places[0]) if places else None
    except InputError:
        return None


def _with_state(found: Curves, folder: Path) -> Curves:
    try:
        kept = state.read(state.Folder(run=folder))
    except InputError as error:
        note = Note(kind="reading", where="training/state.json", text=error.message)
        return replace(found, notes=(*found.notes, note))
    if kept is None:
        return found
    outcome = kept.steps[-1].outcome if kept.steps else None
    return replace(found, status=kept.status, reason=kept.reason, ended=outcome.ended if outcome else "")


def _rows(told: list[dict[str, Any]]) -> list[Row]:
    rows = []
    for i, event in enumerate(told, start=1):
        epoch = _float(event.get("epoch"))
        if event["event"] == "epoch" and epoch is not None and math.isfinite(epoch):
            rows.append(Row(epoch=epoch, where=f"training/events.jsonl:{i}", values=_values(event)))
    return rows


def _values(event: Mapping[str, Any]) -> dict[str, float]:
    """Our names of an epoch's losses and metrics; null is what was NaN."""
    found: dict[str, float | None] = {}
    for name, value in _dict(event.get("losses")).items():
        found[f"train/{name.removeprefix('train/')}"] = _float(value, null=float("nan"))
    for name, value in _dict(event.get("metrics")).items():
        bare = name.removeprefix("val/").removeprefix("val_")
        found[f"val/{bare}" if "loss" in bare else f"metric/{bare}"] = _float(value, null=float("nan"))
    found["fitness"] = _float(event.get("fitness"))
    found["lr/0"], found["grad_norm"] = _float(event.get("lr")), _float(event.get("grad_norm"))
    memory = _float(event.get("memory_mb"))
    found["gpu_mem_gib"] = None if memory is None else memory / 1024
    return {name: value for name, value in found.items() if value is not None}


def _notes(told: list[dict[str, Any]]) -> list[Note]:
    notes = []
    for i, event in enumerate(told, start=1):
        where = f"training/events.jsonl:{i}"
        if event["event"] == "trouble":
            said = f"{event.get('kind')} in epoch {event.get('epoch')}: {event.get('reason')}"
            notes.append(Note(kind="trouble", where=where, text=said, value=_float(event.get("epoch"))))
        elif event["event"] == "oom":
            notes.append(Note(kind="oom", where=where, text=str(event.get("reason"))))
        elif event["event"] == "outcome" and event.get("ended") == "early_stop":
            notes.append(Note(kind="early_stop", where=where, text=str(event.get("reason"))))
    return notes


def _dict(value: Any) -> dict[str, Any]:
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else {}


def _float(value: Any, null: float | None = None) -> float | None:
    if value is None:
        return null
    return number(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
