"""What the report says about a matrix: what came out of each variant, and how each training went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, number, sha, text, word


def matrix_block(report: Report) -> list[Block]:
    """The table of results, which is the same however often the training was interrupted, and how it went."""
    told = report.sections.get("matrix")
    rows = [row for row in told.get("rows") or () if isinstance(row, Mapping)] if isinstance(told, Mapping) else []
    if not isinstance(told, Mapping) or not rows:
        return []
    lines = tuple(_lines(told, rows))
    tables = (_results(rows), _course(rows))
    return [Block(name="matrix", title="The variants", lines=lines, brief_lines=len(lines), tables=tables)]


def _lines(told: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> Iterator[str]:
    undecided = sum(row.get("verdict") == "inconclusive" for row in rows)
    yield f"{told.get('succeeded')} of {told.get('of')} succeeded{f', {undecided} inconclusive' if undecided else ''}."
    failed = Counter(str(row.get("ended_as")) for row in rows if row.get("status") == "failed")
    if failed:
        yield "Failed: " + ", ".join(f"{count} x {why}" for why, count in failed.most_common()) + "."


def _results(rows: list[Mapping[str, Any]]) -> Table:
    metrics = list(dict.fromkeys(str(name) for row in rows for name in _map(row, "metrics")))
    sections = list(dict.fromkeys(str(name) for row in rows for name in _map(row, "activations")))
    columns = ("variant", "verdict", *metrics, "best epoch", "epochs", *sections, "weights")
    told = tuple(
        (
            text(row.get("variant")),
            word(str(row.get("verdict") or "")),
            *(_metric(_map(row, "metrics").get(name)) for name in metrics),
            number(row.get("best_epoch")),
            number(row.get("epochs")),
            *(text(_counted(_map(row, "activations").get(name))) for name in sections),
            sha(str(row.get("weights_sha256") or row.get("sha256") or "")),
        )
        for row in rows
    )
    spare = ("weights", "epochs", *sections, *reversed(metrics[2:]))
    return Table(columns=columns, rows=told, title="Results", brief=True, spare=spare)


def _course(rows: list[Mapping[str, Any]]) -> Table:
    columns = ("variant", "started", "stopped", "seconds", "attempts", "segments", "rollbacks", "OOM", "why not")
    told = tuple(
        (
            text(row.get("variant")),
            text(_moments(row, "began")),
            text(_moments(row, "ended")),
            *(number(row.get(name)) for name in ("seconds", "attempts", "segments", "rollbacks", "ooms")),
            text(None if row.get("exit_code") == 0 else next(iter(_list(row, "reasons")), None)),
        )
        for row in rows
    )
    spare = ("why not", "stopped", "started", "segments")
    return Table(columns=columns, rows=told, title="How it went", brief=True, spare=spare)


def _metric(value: Any) -> Cell:
    """Four digits behind the point: variants are often a few thousandths apart."""
    return Cell(text=f"{value:.4f}", number=True) if isinstance(value, int | float) else number(None)


def _moments(row: Mapping[str, Any], which: str) -> str:
    """When it was begun or has stopped, each time; what was cut off by a kill could not say when."""
    runs = [run for run in _list(row, "runs") if isinstance(run, Mapping)]
    return ", ".join(str(run.get(which) or "cut off").removesuffix("+00:00").replace("T", " ") for run in runs)


def _map(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    return list(value) if isinstance(value, list | tuple) else []


def _counted(kinds: Any) -> str:
    if not isinstance(kinds, Mapping):
        return "" if kinds is None else str(kinds)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
