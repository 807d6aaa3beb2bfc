"""Any JSON-like value as tables: what a report shows of a section that nothing else knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deploytk.report.blocks import Cell, Table, number, pairs, text

_MOST_ROWS = 60


def generic(value: Any) -> list[Table]:
    """Any JSON-like value as tables: scalars as pairs, objects as pairs of their own, lists of objects as rows."""
    if _is_rows(value):
        return [_rows(value, "")]
    if not isinstance(value, Mapping):
        return [pairs([("", scalar(value))], brief=True)]
    told = {str(key): item for key, item in value.items() if item not in (None, {}, [], "")}
    alone = [(key, scalar(item)) for key, item in told.items() if not isinstance(item, Mapping) and not _is_rows(item)]
    tables = [pairs(alone, brief=True)] if alone else []
    for key, item in told.items():
        if isinstance(item, Mapping):
            tables.append(pairs([(name, scalar(v)) for name, v in _flattened(item)], key, brief=True))
        elif _is_rows(item):
            tables.append(_rows(item, key))
    return tables


def _is_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _rows(values: Sequence[Mapping[str, Any]], title: str) -> Table:
    columns = tuple(dict.fromkeys(str(key) for row in values for key in row))
    rows = tuple(tuple(scalar(row.get(c)) for c in columns) for row in values[:_MOST_ROWS])
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


def scalar(value: Any) -> Cell:
    """Any value as one cell."""
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
