"""The results.csv of a training as rows with our names, by the reader that `deploytk diagnose` has too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploytk.files import write_text
from deploytk.training.diagnosis import csv_table
from deploytk.training.diagnosis.text import number, text_of

#: results.csv column -> our name.
METRICS = {
    "metrics/mAP50(B)": "mAP50",
    "metrics/mAP50-95(B)": "mAP50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
}


def read(path: Path) -> list[dict[str, float | None]]:
    """One row per epoch: column -> number, None for nan, inf and what is no number. A ragged line is left out."""
    found = csv_table.parse(text_of(path)) if path.is_file() else None
    if found is None:
        return []
    rows = [{c: _number(line.cells.get(c, "")) for c in found.columns} for line in found.lines]
    return [row for row in rows if row.get("epoch") is not None]


def table(rows: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    """The rows with our names: epoch, time_s, losses, metrics, lr. `time` in the file runs on from epoch to epoch."""
    told = []
    for row in rows:
        out: dict[str, float | None] = {"epoch": row["epoch"], "time_s": row.get("time")}
        out |= {k.replace("/", "_"): v for k, v in row.items() if k.endswith("_loss")}
        out |= {name: row.get(column) for column, name in METRICS.items()}
        out["lr"] = row.get("lr/pg0")
        told.append(out)
    return told


def metrics_of(told: Mapping[str, Any]) -> dict[str, float]:
    """Ultralytics' metrics under our names, its validation losses as val_box_loss ..."""
    named = {name: float(told[column]) for column, name in METRICS.items() if column in told}
    return named | {k.replace("/", "_"): float(v) for k, v in told.items() if k.endswith("_loss")}


def seconds(path: Path) -> float:
    """How long the epochs in the file took together."""
    rows = read(path)
    return float(rows[-1].get("time") or 0.0) if rows else 0.0


def cut(path: Path, epochs: int) -> None:
    """Leave the rows of the first so many epochs, each once; a line that a kill has torn goes too."""
    if not path.is_file():
        return
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    by_epoch = {int(float(line.split(",")[0])): line for line in lines if line.count(",") == header.count(",")}
    kept = [line for epoch, line in sorted(by_epoch.items()) if epoch <= epochs]
    if kept:
        write_text(path, "\n".join([header, *kept]) + "\n")
    else:
        path.unlink()


def best(rows: list[dict[str, float | None]]) -> dict[str, float | None] | None:
    """The row with the highest mAP50-95, as Ultralytics chooses best.pt; the last of equal ones."""

    def fitness(row: dict[str, float | None]) -> float:
        value = row["mAP50_95"]
        return -math.inf if value is None else value

    return max(reversed(rows), key=fitness, default=None)


def _number(text: str) -> float | None:
    value = number(text)
    return value if value is not None and math.isfinite(value) else None
