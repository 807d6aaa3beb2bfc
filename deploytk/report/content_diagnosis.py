"""What the report says about how a training ended: the word, the lines that show it, and what to try for each cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, code, number, pairs, text

_TONES: dict[str, Tone] = {"healthy": "good", "healthy_transient": "good", "early_stop": "warn"}


def diagnosis_block(report: Report) -> list[Block]:
    """The verdict on a training, its evidence, the evidence of each cause with its patch, and the settings."""
    told = report.sections.get("diagnosis")
    if not isinstance(told, Mapping) or not told:
        return []
    tables = (_summary(told), _evidence(told), _causes(told), _settings(told))
    return [
        Block(
            name="diagnosis",
            title="How the training went",
            lines=tuple(str(note) for note in told.get("notes", ())),
            tables=tuple(table for table in tables if table.rows),
        )
    ]


def _summary(told: Mapping[str, Any]) -> Table:
    word, metric = str(told.get("verdict")), told.get("metric") or {}
    rows: list[tuple[str, Cell]] = [("verdict", text(word, _TONES.get(word, "bad")))]
    if metric:
        rows.append((f"best {metric.get('name')}", _at(metric.get("best"), told, metric.get("best_at"))))
        rows.append((f"last {metric.get('name')}", _at(metric.get("last"), told, metric.get("last_at"))))
    return pairs(rows, brief=True)


def _at(value: Any, told: Mapping[str, Any], epoch: Any) -> Cell:
    return text(f"{number(value).text} ({told.get('unit')} {number(epoch).text.removesuffix('.00')})")


def _evidence(told: Mapping[str, Any]) -> Table:
    rows = tuple((code(e.get("where")), text(e.get("text"))) for e in told.get("evidence", ()))
    return Table(columns=("line", "what stands there"), rows=rows, title="Evidence", brief=True)


def _causes(told: Mapping[str, Any]) -> Table:
    rows = []
    for cause in told.get("causes", ()):
        shown = "; ".join(f"{e.get('where')} {e.get('text')}" for e in cause.get("evidence", ()))
        rows.append((code(cause.get("code")), number(cause.get("score")), text(shown), code(_flow(cause))))
    return Table(columns=("cause", "weight", "what shows it", "profile patch"), rows=tuple(rows), title="Causes")


def _flow(cause: Mapping[str, Any]) -> str:
    """The patch on one line, as YAML: tables have no room for more."""
    return ", ".join(f"{section}: {_values(values)}" for section, values in (cause.get("changes") or {}).items())


def _values(values: Any) -> str:
    if not isinstance(values, Mapping):
        return str(values)
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"


def _settings(told: Mapping[str, Any]) -> Table:
    rows = [(str(name), text(value)) for name, value in (told.get("settings") or {}).items()]
    return pairs(rows, "Settings of that training", folded=True)
