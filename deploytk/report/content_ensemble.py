"""What the report says about an ensemble: each model alone, and all as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, Tone, number, text

_TOLD: dict[str, Tone] = {"better": "good", "worse": "bad"}


def ensemble_block(report: Report) -> list[Block]:
    """A row for each model and one for the ensemble."""
    told = report.sections.get("ensemble")
    if not isinstance(told, Mapping):
        return []
    lines = tuple(_lines(told))
    tables = tuple(table for table in (_systems(told), _learnt(told)) if table.rows)
    return [Block(name="ensemble", title="The ensemble", lines=lines, tables=tables, brief_lines=len(lines))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    what = "passed through unchanged" if told["passthrough"] else f"combined by {told['strategy']}"
    yield f"{told['samples']} samples, the same for all (digest {told['digest'][:12]}); {what}."
    yield f"Judged: {told['metric']}."
    if told.get("trained_on"):
        yield f"{told['trained_on']} samples were left out: a model was trained on them."
    if told["strategy"] == "stacking" and not told["passthrough"]:
        yield "Stacking is out of fold: no sample's own reference taught what chose or answered for it."


def _systems(told: Mapping[str, Any]) -> Table:
    apart = told["difference"]
    chosen = any("chosen" in one for one in told["systems"])
    rows = [
        (
            text(one["name"]),
            number(one["score"]),
            number(one["ms_per_sample"]),
            *((number(one["chosen"]),) if chosen else ()),
            text(""),
        )
        for one in told["systems"]
    ]
    whole = told["ensemble"]
    beside = f"{apart['mean']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f}), {apart['told']}"
    if not told["passthrough"]:
        score, ms = number(whole["score"]), number(whole["ms_per_sample"])
        none = (text(""),) if chosen else ()
        rows.append((text("ensemble"), score, ms, *none, text(beside, _TOLD.get(apart["told"], "muted"))))
    one_each = ("chosen",) if chosen else ()
    columns = ("model", told["metric"], "ms a sample", *one_each, "beside the best single model")
    return Table(columns=columns, rows=tuple(rows), title="Each alone, and all as one", brief=True)


def _learnt(told: Mapping[str, Any]) -> Table:
    """What a reranker weighs."""
    learnt = told.get("learnt") or {}
    rows = zip(learnt.get("features", ()), learnt.get("weights", ()), strict=False)
    cells = tuple((text(name), number(weight)) for name, weight in rows)
    return Table(columns=("feature", "weight"), rows=cells, title="What the reranker weighs", folded=True)
