"""What the report says about several text models: how far each came, and what it does at its best batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, number, text, word


def several_block(report: Report) -> list[Block]:
    """A row for each model."""
    told = report.sections.get("several")
    if not isinstance(told, Mapping):
        return []
    rows = told["rows"]
    done = sum(row["stage"] == "done" for row in rows)
    lines = (f"{done} of {len(rows)} were trained, exported and benched.", *([told["note"]] if told["note"] else ()))
    tables = [_models(rows), _wrong(rows)]
    return [
        Block(
            name="several",
            title="The models",
            lines=lines,
            tables=tuple(table for table in tables if table.rows),
            brief_lines=len(lines),
        )
    ]


def _models(rows: list[Mapping[str, Any]]) -> Table:
    told = tuple((text(row["name"]), text(row["stage"]), word(row["verdict"]), *_cells(row)) for row in rows)
    columns = (
        *("model", "came to", "verdict", "INT8 same", "INT8 time", "largest batch"),
        *("first token ms", "token ms", "tokens/s", "at batch", "peak MB"),
    )
    spare = ("peak MB", "at batch", "token ms", "INT8 time", "came to")
    title = "How far each came; INT8 beside float: the same answers, and the time; p50 at the best batch size"
    return Table(columns=columns, rows=told, title=title, brief=True, spare=spare)


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    int8 = row.get("exports", {}).get("int8", {})
    best = row.get("bench") or {}
    identical, speed = int8.get("identical"), int8.get("speed", {}).get("ratio")
    names = ("first_token_p50_ms", "per_token_p50_ms", "tokens_per_second", "batch", "peak_rss_mb")
    return (
        text(None if identical is None else f"{identical:.0%}"),
        text(None if speed is None else f"{speed:.2f}x"),
        number(row.get("best_batch")),
        *(number(best.get(name)) for name in names),
    )


def _wrong(rows: list[Mapping[str, Any]]) -> Table:
    told = tuple(
        tuple(text(row[key]) for key in ("name", "stage", "why", "reason")) for row in rows if row["exit_code"]
    )
    return Table(columns=("model", "at", "kind", "why"), rows=told, title="What went wrong", brief=True)
