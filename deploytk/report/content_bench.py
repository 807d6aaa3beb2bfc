"""What the report says about time: the budget in words, a table of all batch sizes, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.budget import Budget
from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, readable, text, word
from deploytk.report.points import Point, points

_SHOWN = (50, 90, 95, 99)
_PER = {"batch": "for a whole batch", "item": "for each item of a batch"}
_BOUNDARY = {
    "model": "The clock holds the model's run alone, without pre- and post-processing.",
    "end_to_end": "The clock holds everything from the image file to the result.",
}


def budget_words(budget: Budget) -> tuple[str, ...]:
    """The budget as sentences."""
    told = [
        f"{budget.percentile:g} % of the calls must take less than {budget.latency_ms:g} ms {_PER[budget.per]}, "
        f"shown at {100 * budget.confidence:g} % confidence (one-sided).",
        _BOUNDARY[budget.boundary],
        f"From the trained model to the deployed one the accuracy may fall by at most {budget.max_accuracy_drop:g}.",
    ]
    if budget.max_size_mb is not None:
        told.append(f"The deployed file may have at most {budget.max_size_mb:g} MB.")
    if budget.max_memory_mb is not None:
        told.append(f"The process may use at most {budget.max_memory_mb:g} MB of memory.")
    return tuple(told)


def budget_block(report: Report) -> list[Block]:
    """The budget, where there is one."""
    if report.budget is None:
        return []
    return [Block(name="budget", title="Budget", lines=budget_words(report.budget))]


def bench_block(report: Report) -> list[Block]:
    """The latency of every batch size, as a table and as figures."""
    found = points(report)
    if not found:
        return []
    section = report.sections.get("bench")
    lines = _lines(section if isinstance(section, Mapping) else {}, found)
    tables = [*_verdicts(section), _table(found, report.budget), *_failures(found), *_reasons(found)]
    figures = ("latency", "throughput", "ecdf")
    return [Block(name="bench", title="Latency by batch size", lines=lines, tables=tuple(tables), figures=figures)]


def _lines(section: Mapping[str, Any], found: list[Point]) -> tuple[str, ...]:
    told = []
    if section.get("best_batch"):
        told.append(f"The largest batch size within the budget is {section['best_batch']}.")
    if section.get("best_throughput_batch"):
        told.append(f"The best throughput within the budget is at batch size {section['best_throughput_batch']}.")
    if section.get("arrival"):
        told.append(f"Load: {section['arrival']}.")
    if section.get("inputs"):
        told.append(f"Inputs: {section['inputs']}.")
    if any(p.estimated for p in found):
        told.append("What is marked “est.” is a compiler's estimate, not a measurement.")
    return tuple(told)


def _verdicts(section: Any) -> list[Table]:
    """One line per artifact, where several were benched."""
    told = section.get("verdicts", ()) if isinstance(section, Mapping) else ()
    rows = [
        (text(v.get("artifact")), word(v.get("verdict")), text(next(iter(v.get("reasons") or ()), None)))
        for v in told
        if isinstance(v, Mapping)
    ]
    return [Table(columns=("artifact", "verdict", "why"), rows=tuple(rows), brief=True)] if len(rows) > 1 else []


def _table(found: list[Point], budget: Budget | None) -> Table:
    several = len({p.artifact for p in found}) > 1
    columns = [
        "batch",
        "verdict",
        "status",
        "p50 ms",
        "p90 ms",
        "p95 ms",
        "p99 ms",
        "ms/item",
        "items/s",
        "peak MB",
        "samples",
    ]
    rows = [([text(p.artifact)] if several else []) + _row(p, budget) for p in found]
    named = (*(["artifact"] if several else []), *columns)
    spare = ("samples", "p90 ms", "ms/item", "peak MB", "status", "p50 ms")
    return Table(columns=named, rows=tuple(map(tuple, rows)), brief=True, spare=spare)


def _row(p: Point, budget: Budget | None) -> list[Cell]:
    return [
        number(p.batch),
        word(p.verdict),
        text("estimated" if p.estimated and p.status == "ok" else p.status.replace("_", " "), _status_tone(p)),
        *_latencies(p, budget),
        _estimate(p.ms_per_item, p),
        _estimate(p.items_per_second, p),
        number(p.peak_rss_mb),
        number(p.n or None),
    ]


def _status_tone(p: Point) -> Tone:
    if p.estimated:
        return "estimate"
    return {"ok": "", "not_run": "muted"}.get(p.status, "bad")  # type: ignore[return-value]


def _latencies(p: Point, budget: Budget | None) -> list[Cell]:
    """Four percentiles; an estimate has one number, which stands under the judged percentile."""
    limit = _limit(p, budget)
    if p.estimated:
        judged = budget.percentile if budget else 50
        place = judged if judged in _SHOWN else 50
        return [_estimate(p.judged_ms if shown == place else None, p) for shown in _SHOWN]
    values = (p.p50_ms, p.p90_ms, p.p95_ms, p.p99_ms)
    return [number(v, "bad" if v is not None and v > limit else "") for v in values]


def _limit(p: Point, budget: Budget | None) -> float:
    if budget is None:
        return float("inf")
    return budget.latency_ms * (p.batch if budget.per == "item" else 1)


def _estimate(value: float | None, p: Point) -> Cell:
    if value is None or not p.estimated:
        return number(value)
    return Cell(text=f"{readable(value)} est.", tone="estimate", number=True)


def _failures(found: list[Point]) -> list[Table]:
    """Why a batch size gave no samples."""
    told = [p for p in found if p.status != "ok" and p.reason]
    rows = tuple((text(p.artifact), number(p.batch), text(p.status.replace("_", " ")), text(p.reason)) for p in told)
    title = "Without a result"
    return [Table(columns=("artifact", "batch", "status", "why"), rows=rows, title=title, brief=True)] if rows else []


def _reasons(found: list[Point]) -> list[Table]:
    """The evidence behind each verdict."""
    told = [p for p in found if p.status == "ok" and p.reason]
    rows = tuple((text(p.artifact), number(p.batch), word(p.verdict), text(p.reason)) for p in told)
    title = "The evidence for each verdict"
    return [Table(columns=("artifact", "batch", "verdict", "why"), rows=rows, title=title, folded=True)] if rows else []
