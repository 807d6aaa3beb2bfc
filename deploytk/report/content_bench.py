"""What the report says about time: the budget in words, a table of all batch sizes, its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deploytk.budget import Budget
from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, readable, text, word
from deploytk.report.content_bench_lines import BOUNDARY, bench_lines
from deploytk.report.points import Point, points

_SHOWN = (50, 90, 95, 99)
_PARTS_IN_A_ROW = 6
_PER = {"batch": "for a whole batch", "item": "for each item of a batch"}


def budget_words(budget: Budget) -> tuple[str, ...]:
    """The budget as sentences."""
    told = [
        f"{budget.percentile:g} % of the calls must take less than {budget.latency_ms:g} ms {_PER[budget.per]}, "
        f"shown at {100 * budget.confidence:g} % confidence (one-sided).",
        BOUNDARY[budget.boundary],
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
    told = report.sections.get("bench")
    section: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    tables = [*_verdicts(section), _table(found, report.budget), *_threads(section), *_parts(found)]
    tables += [*_failures(found), *_reasons(found)]
    by_batch = ("latency", "throughput") if len({p.batch for p in found}) > 1 else ()
    figures = (*by_batch, "ecdf", "parts", "timeline", "memory")
    lines = bench_lines(report, section, found)
    return [
        Block(
            name="bench",
            title="Latency by batch size",
            lines=lines,
            tables=tuple(tables),
            figures=figures,
            brief_lines=1,
        )
    ]


def _table(found: list[Point], budget: Budget | None) -> Table:
    """One line per point; columns that nothing is known for are left out."""
    columns = _columns(budget, several=len({p.series for p in found}) > 1)
    shown = {name: [cell(p) for p in found] for name, cell in columns.items()}
    shown = {name: cells for name, cells in shown.items() if name in _ALWAYS or any(c.text != "–" for c in cells)}
    return Table(columns=tuple(shown), rows=tuple(zip(*shown.values(), strict=True)), brief=True, spare=_SPARE)


#: Shown even where nothing is known for any point.
_ALWAYS = frozenset({"batch", "verdict", "status", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "ms/item", "items/s"})
_SPARE = (
    *("J/item", "load ms", "first ms", "CPU ms", "precision", "evidence"),
    *("samples", "p90 ms", "ms/item", "peak MB", "status", "p50 ms"),
)


def _columns(budget: Budget | None, *, several: bool) -> dict[str, Callable[[Point], Cell]]:
    """The cell of each column for a point, by the column's name."""
    columns: dict[str, Callable[[Point], Cell]] = {"artifact": lambda p: text(p.series)} if several else {}
    columns |= {
        "batch": lambda p: number(p.batch),
        "verdict": lambda p: word(p.verdict),
        "status": lambda p: text(_status(p), _status_tone(p)),
    }
    for percent in _percents(budget):
        columns[f"p{percent:g} ms"] = partial(_latency, percent, budget)
    return columns | {
        "ms/item": lambda p: _estimate(p.ms_per_item, p),
        "items/s": lambda p: _estimate(p.items_per_second, p),
        "first ms": lambda p: number(p.first_ms),
        "load ms": lambda p: number(p.load_ms),
        "CPU ms": lambda p: number(p.cpu_ms),
        "J/item": lambda p: number(p.energy_j_per_item),
        "peak MB": lambda p: number(p.peak_rss_mb),
        "precision": lambda p: text(p.precision),
        "samples": lambda p: number(p.n or None),
        "evidence": lambda p: text(None) if p.refined else text("screened", "muted"),
    }


def _percents(budget: Budget | None) -> tuple[float, ...]:
    judged = (budget.percentile,) if budget else ()
    return tuple(sorted({*_SHOWN, *judged}))


def _latency(percent: float, budget: Budget | None, p: Point) -> Cell:
    """A percentile; an estimate has one number, which stands under the judged percentile."""
    if p.estimated:
        judged = budget.percentile if budget else 50
        return _estimate(p.judged_ms if percent == judged else None, p)
    told: dict[float, float | None] = {50: p.p50_ms, 90: p.p90_ms, 95: p.p95_ms, 99: p.p99_ms}
    value = told.get(percent, p.judged_ms)
    return number(value, "bad" if value is not None and value > _limit(p, budget) else "")


def _status(p: Point) -> str:
    return "estimated" if p.estimated and p.status == "ok" else p.status.replace("_", " ")


def _status_tone(p: Point) -> Tone:
    if p.estimated:
        return "estimate"
    return {"ok": "", "not_run": "muted"}.get(p.status, "bad")  # type: ignore[return-value]


def _limit(p: Point, budget: Budget | None) -> float:
    of_a_part = p.measurement is not None and p.measurement.details.get("judged")
    if budget is None or of_a_part:
        return float("inf")
    return budget.latency_ms * (p.batch if budget.per == "item" else 1)


def _estimate(value: float | None, p: Point) -> Cell:
    if value is None or not p.estimated:
        return number(value)
    return Cell(text=f"{readable(value)} est.", tone="estimate", number=True)


def _verdicts(section: Mapping[str, Any]) -> list[Table]:
    """One line per artifact, where several were benched."""
    rows = [
        (text(v.get("artifact")), word(v.get("verdict")), text(next(iter(v.get("reasons") or ()), None)))
        for v in section.get("verdicts") or ()
        if isinstance(v, Mapping)
    ]
    return [Table(columns=("artifact", "verdict", "why"), rows=tuple(rows), brief=True)] if len(rows) > 1 else []


def _threads(section: Mapping[str, Any]) -> list[Table]:
    """What --threads auto measured; the number it chose is marked."""
    told = section.get("threads")
    rows = [r for r in told.get("rows") or () if isinstance(r, Mapping)] if isinstance(told, Mapping) else []
    if not isinstance(told, Mapping) or not rows:
        return []
    cells = tuple(
        (
            number(r.get("threads")),
            number(r.get("p50_ms")),
            text(None) if r.get("waited") is None else text(f"{100 * r['waited']:.0f} %"),
            number(r.get("n")),
            text("chosen", "good") if r.get("threads") == told.get("best") else text(_not_ok(r)),
        )
        for r in rows
    )
    title = f"Threads, measured in turns at batch {told.get('batch', 1)}"
    return [Table(columns=("threads", "p50 ms", "waited for a core", "samples", ""), rows=cells, title=title)]


def _not_ok(row: Mapping[str, Any]) -> str | None:
    status = str(row.get("status") or "ok")
    return None if status == "ok" else status.replace("_", " ")


def _parts(found: list[Point]) -> list[Table]:
    """Where the time of an end-to-end call goes, or how much of a call is the GPU's: the median of each part."""
    told = [p for p in found if p.split]
    names = list(dict.fromkeys(name for p in told for name in p.split))
    several = len({p.series for p in told}) > 1
    rows = tuple(
        (*((text(p.series),) if several else ()), number(p.batch), *(number(p.split.get(n)) for n in names))
        for p in told
    )
    columns = (*(("artifact",) if several else ()), "batch", *(f"{n} ms" for n in names))
    title = "Where the time goes: the median of each part"
    # As many parts as a pipeline has do not fit a terminal; its own block has them one below the other.
    return [Table(columns=columns, rows=rows, title=title, brief=len(names) <= _PARTS_IN_A_ROW)] if told else []


def _failures(found: list[Point]) -> list[Table]:
    """Why a batch size gave no samples."""
    told = [p for p in found if p.status != "ok" and p.reason]
    rows = tuple((text(p.series), number(p.batch), text(p.status.replace("_", " ")), text(p.reason)) for p in told)
    title = "Without a result"
    return [Table(columns=("artifact", "batch", "status", "why"), rows=rows, title=title, brief=True)] if rows else []


def _reasons(found: list[Point]) -> list[Table]:
    """The evidence behind each verdict."""
    told = [p for p in found if p.status == "ok" and p.reason]
    rows = tuple((text(p.series), number(p.batch), word(p.verdict), text(p.reason)) for p in told)
    title = "The evidence for each verdict"
    return [Table(columns=("artifact", "batch", "verdict", "why"), rows=rows, title=title, folded=True)] if rows else []
