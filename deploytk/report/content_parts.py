"""What the report says about the two models of a pipeline: how each was trained, and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, number, sha, text, word


def parts_block(report: Report) -> list[Block]:
    """A table of the trainings and one of the exports, a row for each model."""
    tables = [
        *_table(report, "parts", "Trained", ("model", "epochs", "cycle", "best_epoch"), ("sha256",)),
        *_table(report, "exports", "Exported", ("verdict", "deployed"), ()),
    ]
    return [Block(name="parts", title="The two models", tables=tuple(tables))] if tables else []


def _table(report: Report, section: str, title: str, first: tuple[str, ...], last: tuple[str, ...]) -> list[Table]:
    told = report.sections.get(section)
    rows = [row for row in told if isinstance(row, Mapping)] if isinstance(told, list) else []
    if not rows:
        return []
    metrics = list(dict.fromkeys(str(name) for row in rows for name in _metrics(row)))
    cells = tuple(
        (
            text(row.get("part")),
            *(_cell(name, row.get(name)) for name in first),
            *(number(_metrics(row).get(name)) for name in metrics),
            *(_cell(name, row.get(name)) for name in last),
        )
        for row in rows
    )
    columns = ("part", *(name.replace("_", " ") for name in first), *metrics, *last)
    return [Table(columns=columns, rows=cells, title=title, brief=True, spare=(*last, *reversed(metrics[2:])))]


def _metrics(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found = row.get("metrics")
    return found if isinstance(found, Mapping) else {}


def _cell(name: str, value: Any) -> Any:
    if name == "sha256":
        return sha(str(value or ""))
    if name == "verdict":
        return word(str(value or ""))
    return number(value) if isinstance(value, int | float) else text(value)
