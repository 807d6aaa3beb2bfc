"""What the report says about an exported text model: answers beside the trained model's, sizes, pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, text

_NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def text_export_block(report: Report) -> list[Block]:
    """A row for each precision."""
    told = report.sections.get("text_export")
    if not isinstance(told, Mapping):
        return []
    lines = tuple(_lines(told))
    tables = (_answers(told), _sizes(told))
    return [Block(name="text-export", title="Answers and sizes", lines=lines, tables=tables, brief_lines=len(lines))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    first = next(iter(told.values()))
    yield f"{first['samples']} validation texts, answered greedily by each; ROUGE by rouge-score, {first['tokenizer']}."
    for name, row in told.items():
        if "speed" in row:
            speed = row["speed"]
            yield (
                f"{name} takes {speed['ratio']:.2f} times as long as fp32 ({speed['low']:.2f} to {speed['high']:.2f}), "
                f"{speed['tokens']} tokens an answer, {speed['rounds']} rounds in turns in one process."
            )


def _answers(told: Mapping[str, Any]) -> Table:
    rows = [
        (
            text(name),
            text(f"{row['identical']:.1%}"),
            *(text(f"{row['converted'][key]:.3f} ({row['change'][key]['mean']:+.3f})") for key in _NAMES),
        )
        for name, row in told.items()
    ]
    columns = ("precision", "identical answers", *(f"{name} (change)" for name in _NAMES.values()))
    return Table(columns=columns, rows=tuple(rows), title="Beside the trained model", brief=True)


def _sizes(told: Mapping[str, Any]) -> Table:
    rows = [
        (
            text(name),
            text(f"{row['sizes']['bytes'] / 1e6:,.1f} MB"),
            text(_beside(row["sizes"]["of_checkpoint"])),
            text("the same" if name == "fp32" else _beside(row["sizes"]["of_float"])),
        )
        for name, row in told.items()
    ]
    columns = ("precision", "weights", "than the checkpoint", f"than the float {next(iter(told.values()))['target']}")
    return Table(columns=columns, rows=tuple(rows), title="Sizes", brief=True)


def _beside(share: float) -> str:
    return f"{1 / share:.2f} times smaller" if share < 1 else f"{share:.2f} times larger"
