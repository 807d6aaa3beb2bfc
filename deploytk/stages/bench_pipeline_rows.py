"""The numbers of crops of a pipeline's bench: measured in turn, and as rows of a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from deploytk.budget import Budget
from deploytk.measurement import percentile
from deploytk.pipelines.running import PARTS
from deploytk.stages.bench_point import Point, in_turn
from deploytk.worker import Listener

#: Where little is left of the time limit, a number of crops still gets this long.
_LEAST_S = 4.0


def measured(points: Sequence[Point], logs: Path, until: float, listen: Listener | None) -> list[Point]:
    """The points with their verdicts, sampled in turn until each is decided or the time is up."""
    until = max(until, time.monotonic() + _LEAST_S * len(points))
    try:
        for point in points:
            left_s = until - time.monotonic()
            point.start(logs, timeout_s=max(10.0, left_s), warm_s=max(0.5, left_s / (6 * len(points))))
        done = 0
        while (running := [p for p in points if p.open]) and time.monotonic() < until:
            done += 1
            if listen:
                counts = ", ".join(str(p.spec["crops"]) for p in running)
                listen({"done": done, "total": None, "text": f"sampling with {counts} crops"})
            for point in in_turn(running, done, until=until):
                left_s = until - time.monotonic()
                if point.block(timeout_s=max(1.0, left_s), alone=len(running) == 1):
                    point.look(left_s=left_s)
        for point in points:
            point.look(last=True)
    finally:
        for point in points:
            point.close()
    return list(points)


def crop_row(point: Point, budget: Budget) -> dict[str, Any]:
    """One number of crops as JSON-like values, with every sample."""
    known = bool(point.samples)
    drawn = point.details.get("drawn_share")
    return {
        "crops": point.spec["crops"],
        "batch": point.batch,
        "status": point.status,
        "verdict": point.verdict.status if point.verdict else None,
        "reason": " ".join(point.verdict.reasons) if point.verdict else point.reason,
        **{f"p{p}_ms": percentile(point.samples, p) if known else None for p in (50, 95, 99)},
        "judged_ms": percentile(point.samples, budget.percentile) if known else None,
        "parts": {name: median(point.parts[name]) for name in PARTS if point.parts.get(name)},
        "drawn_share": drawn,
        "n": len(point.samples),
        "samples_ms": list(point.samples),
        "blocks": list(point.blocks),
    }


def where_it_goes(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The stages of the smallest batch size that was measured: mean, share of the whole, median and p95, in ms.

    Means add up to the mean of the whole; medians and percentiles do not.
    """
    seen = next((p for p in points if p.samples and p.parts), None)
    if seen is None:
        return []
    whole = fmean(seen.samples)
    rows = [_stage(name, seen.parts[name], whole, seen.batch) for name in PARTS]
    rest = whole - sum(row["mean_ms"] for row in rows)
    return [*rows, {**_stage("whole", seen.samples, whole, seen.batch), "between_ms": rest}]


def _stage(name: str, values: Sequence[float], whole: float, batch: int) -> dict[str, Any]:
    mean = fmean(values)
    told = {"stage": name, "batch": batch, "mean_ms": mean, "share": mean / whole if whole else None}
    return told | {"p50_ms": percentile(values, 50), "p95_ms": percentile(values, 95)}
