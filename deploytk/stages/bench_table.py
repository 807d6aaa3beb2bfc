"""The rows of a bench and its verdict over all batch sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from deploytk import ratio
from deploytk.budget import Budget, Verdict
from deploytk.measurement import Measurement
from deploytk.stages.bench_point import SCREEN_BLOCKS, Point

Judged = tuple[Measurement, Verdict]
Row = dict[str, Any]

#: Throughputs this close are a tie, and the smallest batch size of a tie is the best.
_TIE = 0.97
#: The knee has this share of the highest throughput.
_KNEE = 0.95


def row(m: Measurement, verdict: Verdict, budget: Budget) -> Row:
    """One line of the table; what is not known is null.

    An estimate has no percentiles: its time stands in `judged_ms` and `ms_per_item`.
    """
    known = m.kind == "measured"
    percentiles = {f"p{p}_ms": _number(m.percentile_ms(p)) if known else None for p in (50, 90, 95, 99)}
    typical = _number(m.percentile_ms(50))
    return {
        "runtime": m.runtime,
        "threads": m.details.get("threads"),
        "precision": m.details.get("precision"),
        "batch": m.batch,
        "status": m.status,
        "verdict": None if m.status == "not_run" else verdict.status,
        "kind": m.kind,
        **percentiles,
        "judged_ms": _number(m.judged_ms(budget.percentile)),
        "items_per_second": m.items_per_second or None,
        "ms_per_item": typical / m.batch if typical is not None else None,
        "peak_rss_mb": m.peak_rss_mb,
        "load_ms": m.load_ms,
        "first_ms": m.first_ms,
        "cpu_ms": _each(sum(m.block_cpu_ms), m) if m.block_cpu_ms else None,
        "energy_j_per_item": _each(m.energy_j / m.batch, m) if m.energy_j is not None else None,
        "parts": {name: median(values) for name, values in m.parts_ms.items() if values},
        "refined": len(m.blocks) > SCREEN_BLOCKS,
        "n": len(m.samples_ms) if known else 0,
        "reason": m.reason or " ".join(verdict.reasons),
    }


def _each(whole: float, m: Measurement) -> float | None:
    """The share of one call in what all samples took together."""
    return whole / len(m.samples_ms) if m.samples_ms else None


def best_batch(rows: Sequence[Row]) -> int | None:
    """The largest batch size within the budget."""
    return max((r["batch"] for r in rows if r["verdict"] == "pass"), default=None)


def throughputs(points: Sequence[Point]) -> dict[str, Any]:
    """The best throughput within the budget, the batch sizes tied with it, and the knee of the whole curve.

    `tied` are the batch sizes whose time per item is not beyond noise (and 3 %) longer than the best one's: "the best
    batch" cannot be told from them, and the smallest is named. `knee_batch` is the smallest batch size that has 95 %
    of the highest throughput of all that were measured, within the budget or not.
    """
    per_item = {p.batch: median(p.samples) / p.batch for p in points if p.status == "ok"}
    within = {p.batch: p for p in points if p.verdict and p.verdict.status == "pass"}
    tied: list[int] = []
    if within:
        best = within[min(within, key=lambda batch: per_item[batch])]
        tied = sorted(batch for batch, p in within.items() if p is best or _as_fast(p, best))
    fastest = min(per_item.values(), default=0.0)
    return {
        "best_throughput_batch": tied[0] if tied else None,
        "tied": tied,
        "knee_batch": min((b for b, ms in per_item.items() if ms * _KNEE <= fastest), default=None),
    }


def _as_fast(point: Point, best: Point) -> bool:
    """Whether the point cannot be told to be slower per item than the best one by more than 3 %."""
    return ratio.unpaired(_per_item(best), _per_item(point)).low <= 1 / _TIE


def _per_item(point: Point) -> list[list[float]]:
    return [[ms / point.batch for ms in block] for block in point.in_blocks]


def overall(
    judged: Sequence[Judged], rows: Sequence[Row], budget: Budget, require: str, tied: Sequence[int] = ()
) -> Verdict:
    """One verdict for all batch sizes: `any` wants one of them within the budget, `all` wants every one.

    Args:
        tied: the batch sizes with the best throughput, as `throughputs` tells them.
    """
    first = _all(rows) if require == "all" else _any(rows, budget, tied)
    return Verdict(status=first.status, reasons=(*first.reasons, *_sentences(judged)))


def _all(rows: Sequence[Row]) -> Verdict:
    if all(r["verdict"] == "pass" for r in rows):
        return Verdict(status="pass", reasons=(f"Every batch size is within the budget: {_batches(rows)}.",))
    failing = [r for r in rows if r["verdict"] == "fail"]
    if failing:
        return Verdict(status="fail", reasons=(f"Batch {_batches(failing)} fails, and every batch size must pass.",))
    return Verdict(status="inconclusive", reasons=("Not every batch size could be shown to be within the budget.",))


def _any(rows: Sequence[Row], budget: Budget, tied: Sequence[int]) -> Verdict:
    if any(r["verdict"] == "pass" for r in rows):
        return Verdict(status="pass", reasons=(_summary(rows, tied),))
    # Where the smallest batch misses the budget for a whole batch, a larger one does.
    smallest_misses = budget.per == "batch" and (rows[0]["status"], rows[0]["verdict"]) == ("ok", "fail")
    if smallest_misses or all(r["verdict"] == "fail" for r in rows if r["status"] != "not_run"):
        return Verdict(status="fail", reasons=("No batch size is within the budget.",))
    return Verdict(status="inconclusive", reasons=("No batch size could be shown to be within the budget.",))


def _summary(rows: Sequence[Row], tied: Sequence[int]) -> str:
    if rows[0]["kind"] == "estimated":
        return "The estimated time is within the budget; it is an estimate of the compiler's, not a measurement."
    told = f"The largest batch within the budget is {best_batch(rows)}"
    best = tied[0] if tied else None
    throughput = next((r["items_per_second"] for r in rows if r["batch"] == best), None)
    if throughput:
        told += f"; the best throughput within it is {throughput:.4g} items/s, at batch {best}"
        told += f" (tied: {', '.join(map(str, tied))})" if len(tied) > 1 else ""
    missing = [r["batch"] for r in rows if (r["status"], r["verdict"]) == ("ok", "fail")]
    return f"{told}; batch {min(missing)} misses it." if missing else f"{told}."


def _sentences(judged: Sequence[Judged]) -> list[str]:
    """A sentence for each batch size that was tried, one for those that were not."""
    told = [f"Batch {m.batch}: {_status(m)}{r}" for m, v in judged if m.status != "not_run" for r in v.reasons]
    for reason in dict.fromkeys(m.reason for m, _ in judged if m.status == "not_run"):
        batches = ", ".join(str(m.batch) for m, _ in judged if m.reason == reason)
        told.append(f"Batch {batches}: {reason}.")
    return told


def _status(m: Measurement) -> str:
    return "" if m.status == "ok" else f"{m.status.replace('_', ' ')}: "


def _batches(rows: Sequence[Row]) -> str:
    return ", ".join(str(r["batch"]) for r in rows)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
