"""Latencies for `deploytk optimize`: a look at one model, and the final round of the best in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from deploytk import ratio
from deploytk.budget import Budget
from deploytk.errors import StepFailed
from deploytk.measurement import percentile
from deploytk.stages.bench_compare import LOOKS
from deploytk.stages.bench_point import Point, in_turn
from deploytk.stages.bench_stability import DISTURBED, stability
from deploytk.stages.optimize_candidates import Timing
from deploytk.stages.optimize_kept import as_file
from deploytk.worker import Listener

#: A look takes so many blocks, one that only leaves out what is hopeless so many, and its child this long at most.
_LOOK_BLOCKS, _FEW_BLOCKS, _LOOK_S = 12, 4, 60.0
#: What is within 3 % of the fastest is as fast: no user notices it.
_ALIKE = 1.03


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A model as it is run: what each bench child is told, and the batch size."""

    name: str
    spec: Mapping[str, Any]
    batch: int

    def point(self, budget: Budget) -> Point:
        """Its samples, none yet."""
        spec = {**self.spec, "name": as_file(self.name)}
        return Point(spec=spec, batch=self.batch, budget=budget, began_s=time.monotonic())


def fastest_ms(runner: Runner, budget: Budget, logs: Path) -> float | None:
    """The fastest of a few calls in blocks that nothing disturbed; None where the machine was too busy for one.

    Raises:
        StepFailed: the model could not be run.
    """
    point = _seen(runner, budget, logs, _FEW_BLOCKS)
    wall, waited = (point.used.get(name, []) for name in ("wall_ms", "waited_ms"))
    if len(waited) != len(point.blocks):  # this system does not tell
        return min(point.samples)
    each = zip(point.in_blocks, wall, waited, strict=True)
    return min((min(block) for block, took, lost in each if lost <= DISTURBED * took), default=None)


def look(runner: Runner, budget: Budget, logs: Path) -> Timing:
    """The latency from a few dozen calls, alone: good enough to leave something out, not to choose.

    Raises:
        StepFailed: the model could not be run.
    """
    return _timing(_seen(runner, budget, logs, _LOOK_BLOCKS), budget)


def _seen(runner: Runner, budget: Budget, logs: Path, blocks: int) -> Point:
    point = runner.point(budget)
    try:
        point.start(logs, timeout_s=_LOOK_S, warm_s=_LOOK_S / 12)
        for _ in range(blocks):
            if not (point.open and point.block(timeout_s=_LOOK_S)):
                break
    finally:
        point.close()
    _require_run(runner, point)
    return point


def final(
    runners: Sequence[Runner], budget: Budget, limit_s: float, logs: Path, listen: Listener | None = None
) -> tuple[list[Timing], str]:
    """(the timings of all runners, what disturbed them as a sentence or the empty string).

    They are measured in turns until each ratio and each verdict is decided or the time is over.

    Ratios are those of the time per item over the first one's. Their intervals hold together with the budget's
    confidence, over all looks and all rivals. One that dies on the way keeps what it was, and fails.

    Raises:
        StepFailed: the first could not be run: there is nothing to compare with.
    """
    until = time.monotonic() + limit_s
    points = [runner.point(budget) for runner in runners]
    try:
        for point in points:
            point.start(logs, timeout_s=max(1.0, until - time.monotonic()), warm_s=limit_s / 12)
        for done in range(LOOKS[-1]):
            running = [p for p in points if p.open]
            if not points[0].open or time.monotonic() > until or (done in LOOKS and _decided(points, budget)):
                break
            if listen:
                listen({"done": done, "total": LOOKS[-1], "text": "final round"})
            for point in in_turn(running, done, until=until):
                point.block(timeout_s=max(1.0, until - time.monotonic()))
        for point in points:
            point.look(last=True)
    finally:
        for point in points:
            point.close()
    _require_run(runners[0], points[0])
    return _compared(points, budget), str(stability([p.used for p in points])["sentence"])


def _require_run(runner: Runner, point: Point) -> None:
    if point.status != "ok" or not point.samples:
        raise StepFailed(f"{runner.name}: {point.status.replace('_', ' ')}: {point.reason}", log=point.log)


def _decided(points: Sequence[Point], budget: Budget) -> bool:
    """Whether no more rounds are needed: who is faster than the first, and who is within the budget."""
    told = _compared(points, budget)
    undecided = any(t.word == "undecided" for t in told[1:])
    return not undecided and all(p.verdict_now().status != "inconclusive" for p in points if p.open)


def _compared(points: Sequence[Point], budget: Budget) -> list[Timing]:
    first = points[0]
    fastest = min((p for p in points if p.samples and p.status == "ok"), key=_per_item)
    confidence = 1 - (1 - budget.confidence) / (len(LOOKS) * max(1, len(points) - 1))
    return [_timing(p, budget, first=first, fastest=fastest, confidence=confidence) for p in points]


def _timing(
    point: Point, budget: Budget, *, first: Point | None = None, fastest: Point | None = None, confidence: float = 0.95
) -> Timing:
    told: dict[str, Any] = {"verdict": point.verdict, "kind": "final" if first else "look"}
    if first and fastest and point.samples and point.status == "ok":
        found = _ratio(first, point, confidence)
        word = "slower" if found.low > 1 else "faster" if found.high < 1 else "undecided"
        ends = {"low": found.low or None, "high": found.high if found.bounded else None}
        told |= {"ratio": found.value, **ends, "word": "" if point is first else word}
        told["tied"] = point is fastest or _ratio(fastest, point, confidence).low <= _ALIKE
    return Timing(
        p50_ms=median(point.samples) if point.samples else float("inf"),
        judged_ms=percentile(point.samples, budget.percentile) if point.samples else float("inf"),
        samples=len(point.samples),
        **told,
    )


def _ratio(a: Point, b: Point, confidence: float) -> ratio.Ratio:
    """How many times as long an item of `b` takes as one of `a`, within the rounds that both have."""
    rounds = min(len(a.blocks), len(b.blocks))
    one, other = ([median(block) / p.batch for block in p.in_blocks[:rounds]] for p in (a, b))
    return ratio.paired(one, other, confidence)


def _per_item(point: Point) -> float:
    return median(point.samples) / point.batch
