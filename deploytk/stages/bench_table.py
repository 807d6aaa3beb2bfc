"""The rows of a bench and its verdict over all batch sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deploytk.budget import Budget, Verdict
from deploytk.measurement import Measurement

Judged = tuple[Measurement, Verdict]
Row = dict[str, Any]

#: Throughputs this close are a tie, and the smallest batch size of a tie is the best.
_TIE = 0.97


def row(m: Measurement, verdict: Verdict, budget: Budget) -> Row:
    """One line of the table; what is not known is null.

    An estimate has no percentiles: its time stands in `judged_ms` and `ms_per_item`.
    """
    known = m.kind == "measured"
    percentiles = {f"p{p}_ms": _number(m.percentile_ms(p)) if known else None for p in (50, 90, 95, 99)}
    typical = _number(m.percentile_ms(50))
    return {
        "batch": m.batch,
        "status": m.status,
        "verdict": None if m.status == "not_run" else verdict.status,
        "kind": m.kind,
        **percentiles,
        "judged_ms": _number(m.percentile_ms(budget.percentile)),
        "items_per_second": m.items_per_second or None,
        "ms_per_item": typical / m.batch if typical is not None else None,
        "peak_rss_mb": m.peak_rss_mb,
        "load_ms": m.load_ms,
        "n": len(m.samples_ms) if known else 0,
        "reason": m.reason or " ".join(verdict.reasons),
    }


def best_batch(rows: Sequence[Row]) -> int | None:
    """The largest batch size within the budget."""
    return max((r["batch"] for r in rows if r["verdict"] == "pass"), default=None)


def best_throughput_batch(rows: Sequence[Row]) -> int | None:
    """The smallest batch size within the budget whose throughput is tied with the best one's."""
    passing = [r for r in rows if r["verdict"] == "pass" and r["items_per_second"]]
    if not passing:
        return None
    best = max(r["items_per_second"] for r in passing)
    return int(min(r["batch"] for r in passing if r["items_per_second"] >= _TIE * best))


def overall(judged: Sequence[Judged], rows: Sequence[Row], budget: Budget, require: str) -> Verdict:
    """One verdict for all batch sizes: `any` wants one of them within the budget, `all` wants every one."""
    first = _all(rows) if require == "all" else _any(rows, budget)
    return Verdict(status=first.status, reasons=(*first.reasons, *_each(judged)))


def _all(rows: Sequence[Row]) -> Verdict:
    if all(r["verdict"] == "pass" for r in rows):
        return Verdict(status="pass", reasons=(f"Every batch size is within the budget: {_batches(rows)}.",))
    failing = [r for r in rows if r["verdict"] == "fail"]
    if failing:
        return Verdict(status="fail", reasons=(f"Batch {_batches(failing)} fails, and every batch size must pass.",))
    return Verdict(status="inconclusive", reasons=("Not every batch size could be shown to be within the budget.",))


def _any(rows: Sequence[Row], budget: Budget) -> Verdict:
    if any(r["verdict"] == "pass" for r in rows):
        return Verdict(status="pass", reasons=(_summary(rows),))
    # Where the smallest batch misses the budget for a whole batch, a larger one does.
    smallest_misses = budget.per == "batch" and (rows[0]["status"], rows[0]["verdict"]) == ("ok", "fail")
    if smallest_misses or all(r["verdict"] == "fail" for r in rows if r["status"] != "not_run"):
        return Verdict(status="fail", reasons=("No batch size is within the budget.",))
    return Verdict(status="inconclusive", reasons=("No batch size could be shown to be within the budget.",))


def _summary(rows: Sequence[Row]) -> str:
    if rows[0]["kind"] == "estimated":
        return "The estimated time is within the budget; it is an estimate of the compiler's, not a measurement."
    told = f"The largest batch within the budget is {best_batch(rows)}"
    best = best_throughput_batch(rows)
    throughput = next((r["items_per_second"] for r in rows if r["batch"] == best), None)
    if throughput:
        told += f"; the best throughput within it is {throughput:.4g} items/s, at batch {best}"
    missing = [r["batch"] for r in rows if (r["status"], r["verdict"]) == ("ok", "fail")]
    return f"{told}; batch {min(missing)} misses it." if missing else f"{told}."


def _each(judged: Sequence[Judged]) -> list[str]:
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
