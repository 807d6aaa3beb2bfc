"""Curves from a results.csv of Ultralytics, YOLOv5, v9 or v10: detection, OBB, segmentation, pose, classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploytk.errors import InputError
from deploytk.training.diagnosis import csv_table
from deploytk.training.diagnosis.columns import meaning
from deploytk.training.diagnosis.text import number, text_of
from deploytk.training.diagnosis.values import Curves, Note, Row, Setting

_TELLS = ("train/", "val/", "metric/")


def read(path: Path, settings: Mapping[str, Setting] | None = None) -> Curves:
    """The curves in a results.csv, NaN and infinity with their lines.

    Raises:
        InputError: it cannot be read, or is no results.csv.
    """
    found = parse(text_of(path), path.name, settings)
    if found is None:
        raise InputError(f"{path}: no results.csv: a column `epoch` and one of a loss or a metric are missing")
    return found


def parse(text: str, name: str, settings: Mapping[str, Setting] | None = None) -> Curves | None:
    """The curves in the text of a results.csv called `name`; None where it is none."""
    table = csv_table.parse(text)
    if table is None or not any((meaning(c) or "").startswith(_TELLS) for c in table.columns):
        return None
    rows, notes = [], [Note(kind="reading", where=f"{name}:{n}", text=why) for n, why in table.left_out]
    for line in table.lines:
        epoch, where = csv_table.epoch_of(line.cells), f"{name}:{line.number}"
        if epoch is None:
            notes.append(Note(kind="reading", where=where, text="has no epoch"))
        else:
            rows.append(Row(epoch=epoch, where=where, values=values_of(line.cells)))
    kept, again = in_order(rows)
    return Curves(source=name, kind="csv", rows=kept, notes=(*notes, *again), settings=dict(settings or {}))


def values_of(cells: Mapping[str, str]) -> dict[str, float]:
    """Our name -> number of the cells that are numbers; of two columns of one meaning the first."""
    found: dict[str, float] = {}
    for column, cell in cells.items():
        name, value = meaning(column), number(cell)
        if name is not None and name != "epoch" and value is not None:
            found.setdefault(name, value)
    return found


def in_order(rows: Sequence[Row]) -> tuple[tuple[Row, ...], list[Note]]:
    """The rows of what was trained in the end: an epoch that comes again puts out itself and all after it."""
    kept: list[Row] = []
    notes = []
    for row in rows:
        if kept and row.epoch <= kept[-1].epoch:
            while kept and kept[-1].epoch >= row.epoch:
                kept.pop()
            said = f"epoch {row.epoch:g} comes again: what was trained from there on before is left out"
            notes.append(Note(kind="reading", where=row.where, text=said))
        kept.append(row)
    return tuple(kept), notes
