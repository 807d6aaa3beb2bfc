"""A report as blocks, in the order people read it; whatever section is unknown is still shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, code, number, pairs, text
from deploytk.report.content_bench import bench_block, budget_block
from deploytk.report.content_diagnosis import diagnosis_block
from deploytk.report.content_diff import diff_block, ratio_block
from deploytk.report.content_ladder import ladder_block
from deploytk.report.content_load import load_block
from deploytk.report.content_matrix import matrix_block
from deploytk.report.content_models import (
    chain_block,
    compare_block,
    contract_block,
    findings_block,
    models_block,
    parity_block,
)
from deploytk.report.content_npu import npu_block
from deploytk.report.content_optimize import optimize_block
from deploytk.report.content_parity import agreement_block

#: Sections that a block of its own shows.
_KNOWN = frozenset(
    {
        "agreement", "bench", "compare", "contract", "diagnosis", "diff", "ladder", "load", "matrix", "npu", "optimize",
        "parity", "ratio", "skipped", "train",
    }
)  # fmt: skip
_MOST_ROWS = 60

#: What an exit code means, in words.
EXIT_WORDS = {
    0: "all that was asked for holds",
    1: "a fault of deploytk",
    2: "the input is wrong",
    3: "over budget",
    4: "not decided: too little evidence",
    5: "a rule failed",
    6: "a library or device is missing",
    7: "training failed",
    8: "the converted model differs from its source",
}


def blocks(report: Report) -> list[Block]:
    """All blocks of the report; what it does not have is left out."""
    return [
        *optimize_block(report),
        *diagnosis_block(report),
        *diff_block(report),
        *budget_block(report),
        *ratio_block(report),
        *compare_block(report),
        *matrix_block(report),
        *models_block(report),
        *ladder_block(report),
        *bench_block(report),
        *load_block(report),
        *npu_block(report),
        *contract_block(report),
        *parity_block(report),
        *agreement_block(report),
        *findings_block(report),
        *_train(report),
        *_unknown(report),
        *chain_block(report),
        *_environment(report),
        *_reproduce(report),
    ]


def _train(report: Report) -> list[Block]:
    told = report.sections.get("train")
    if not isinstance(told, Mapping) or not told:
        return []
    rest = {key: value for key, value in told.items() if key not in ("epochs", "findings", "versions")}
    tables = tuple(replace(table, brief=False) for table in _generic(rest))
    epochs = told.get("epochs")
    count = len(epochs) if isinstance(epochs, Sequence) else epochs
    lines = (f"{count} epoch{'' if count == 1 else 's'}.",) if count else ()
    return [Block(name="train", title="Training", lines=lines, tables=tables, figures=("training",))]


def _unknown(report: Report) -> list[Block]:
    found: list[Block] = []
    for name, value in report.sections.items():
        if name not in _KNOWN and value not in (None, {}, [], ""):
            found.append(Block(name=f"section-{len(found)}", title=name, tables=tuple(_generic(value))))
    return found


def _generic(value: Any) -> list[Table]:
    """Any JSON-like value as tables: scalars as pairs, objects as pairs of their own, lists of objects as rows."""
    if _is_rows(value):
        return [_rows(value, "")]
    if not isinstance(value, Mapping):
        return [pairs([("", _scalar(value))], brief=True)]
    told = {str(key): item for key, item in value.items() if item not in (None, {}, [], "")}
    alone = [(key, _scalar(item)) for key, item in told.items() if not isinstance(item, Mapping) and not _is_rows(item)]
    tables = [pairs(alone, brief=True)] if alone else []
    for key, item in told.items():
        if isinstance(item, Mapping):
            tables.append(pairs([(name, _scalar(v)) for name, v in _flattened(item)], key, brief=True))
        elif _is_rows(item):
            tables.append(_rows(item, key))
    return tables


def _is_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _rows(values: Sequence[Mapping[str, Any]], title: str) -> Table:
    columns = tuple(dict.fromkeys(str(key) for row in values for key in row))
    rows = tuple(tuple(_scalar(row.get(c)) for c in columns) for row in values[:_MOST_ROWS])
    more = f"{title} (the first {_MOST_ROWS} of {len(values)})" if len(values) > _MOST_ROWS else title
    return Table(columns=columns, rows=rows, title=more, brief=True, folded=len(rows) > 20)


def _flattened(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(dotted name, scalar or list) of a nested mapping."""
    found: list[tuple[str, Any]] = []
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            found += [(f"{key}.{name}", inner) for name, inner in _flattened(item)]
        else:
            found.append((str(key), item))
    return found


def _scalar(value: Any) -> Cell:
    if isinstance(value, bool):
        return text("yes" if value else "no")
    if isinstance(value, int | float):
        return number(value)
    if value is None or isinstance(value, str):
        return text(value)
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return text(_cut(", ".join(str(v) for v in value)))
    return text(_cut(json.dumps(value, default=str)))


def _cut(told: str, most: int = 300) -> str:
    return told if len(told) <= most else told[: most - 1] + "…"


def _environment(report: Report) -> list[Block]:
    tables = []
    if report.machine:
        told = asdict(report.machine)
        tables.append(pairs([(k.replace("_gib", ", GiB"), _scalar(v)) for k, v in told.items() if v], "Machine"))
    if report.versions:
        tables.append(pairs([(name, text(v)) for name, v in sorted(report.versions.items())], "Versions"))
    return [Block(name="environment", title="Environment", tables=tuple(tables))] if tables else []


def _reproduce(report: Report) -> list[Block]:
    rows = tuple(
        (text(f"{m.runtime}, batch {m.batch}"), code(m.command), code(m.log))
        for m in report.measurements
        if m.command or m.log
    )
    if not rows:
        return []
    lines = ("Each command repeats one measurement; its log has what the library said.",)
    title = f"{len(rows)} measurement{'' if len(rows) == 1 else 's'}"
    table = Table(columns=("what", "command", "log"), rows=rows, title=title, folded=len(rows) > 8)
    return [Block(name="reproduce", title="Logs, and commands to repeat", lines=lines, tables=(table,))]
