"""Learning rates tried one by one: which ones, and which of them is recommended. Pure values and rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from deploytk.errors import InputError

#: Metrics closer than this share of the best are a tie: so much lies between seeds (docs/sweep.md).
TIED = 0.1

#: Below this the best metric is chance, and says nothing about learning rates.
LEARNED = 0.02

#: What became of a point. `failed`: a crash or a lack of memory, which says nothing about the learning rate.
Became = Literal["trained", "diverged", "failed"]
#: found: the best lies within the range. at_an_end: the best one of all may lie beyond it.
Word = Literal["found", "at_an_end", "all_diverged", "nothing_learned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One learning rate and what its training came to."""

    lr: float
    became: Became
    metric: float | None = None  # what trainings are compared by: higher is better
    loss: float | None = None  # of training, in the last epoch
    reason: str = ""  # why not trained


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The learning rate to take, None where no point gives one, and why."""

    word: Word
    lr: float | None
    best: float | None  # the learning rate with the highest metric
    tied: tuple[float, ...]  # those beside it that are as good within TIED
    reasons: tuple[str, ...]


def rates(first: float, last: float, points: int) -> tuple[float, ...]:
    """`points` learning rates at equal ratios; both ends exact, those between to four digits.

    Raises:
        InputError: there are no such rates.
    """
    if not (0 < first < last and math.isfinite(last)):
        raise InputError(f"--from {first:g} --to {last:g}: a range from a smaller to a larger number above 0 is needed")
    if points < 2:
        raise InputError(f"--points {points}: at least 2, the two ends")
    between = [float(f"{rate:.4g}") for rate in np.geomspace(first, last, points)[1:-1]]
    found = (first, *between, last)
    if any(one >= other for one, other in pairwise(found)):
        raise InputError(f"--points {points}: too many between {first:g} and {last:g}")
    return found


def recommended(points: Sequence[Point]) -> Recommendation:
    """The lowest of the rates that tie with the best one, side by side with it; in words where there is none.

    Args:
        points: in the order of their rates.
    """
    usable = [p for p in points if p.became == "trained" and p.metric is not None]
    if not usable:
        return _none(points)
    best = max(usable, key=lambda p: p.metric or 0.0)
    if (best.metric or 0.0) < LEARNED:
        told = f"{best.metric:.4f} at {best.lr:g}" if best.metric else f"0 at each of {len(usable)} learning rates"
        why = f"the best metric is {told}: too little was learned to tell them apart; try more --epochs"
        return Recommendation(word="nothing_learned", lr=None, best=None, tied=(), reasons=(why,))
    run = _tied(points, best)
    lowest = run[0]
    return Recommendation(
        word="at_an_end" if {best.lr, lowest.lr} & {points[0].lr, points[-1].lr} else "found",
        lr=lowest.lr,
        best=best.lr,
        tied=tuple(p.lr for p in run if p is not best),
        reasons=tuple(_why(points, best, lowest)),
    )


def _none(points: Sequence[Point]) -> Recommendation:
    diverged = sum(p.became == "diverged" for p in points)
    if diverged == len(points):
        why = f"all {diverged} diverged, the lowest at {points[0].lr:g}: widen the range downwards with --from"
        return Recommendation(word="all_diverged", lr=None, best=None, tied=(), reasons=(why,))
    failed = next((p for p in points if p.became == "failed"), None)
    why = f"no point was trained to its end: {failed.reason}" if failed else "no point gave a metric"
    return Recommendation(word="failed", lr=None, best=None, tied=(), reasons=(why,))


def _tied(points: Sequence[Point], best: Point) -> list[Point]:
    """The best point and those on either side of it that tie with it, without a gap."""
    least = (best.metric or 0.0) * (1 - TIED)
    at = next(i for i, p in enumerate(points) if p is best)
    low = high = at
    while low > 0 and _reaches(points[low - 1], least):
        low -= 1
    while high + 1 < len(points) and _reaches(points[high + 1], least):
        high += 1
    return list(points[low : high + 1])


def _reaches(point: Point, least: float) -> bool:
    return point.became == "trained" and point.metric is not None and point.metric >= least


def _why(points: Sequence[Point], best: Point, lowest: Point) -> list[str]:
    told = [f"{best.metric:.4f} at {best.lr:g} is the best"]
    if lowest is not best:
        told = [f"{told[0]}; {lowest.lr:g} ({lowest.metric:.4f}) is as good within {TIED:.0%}, and lower is safer"]
    for point, where, option in ((points[0], "lower", "--from"), (points[-1], "upper", "--to")):
        if point.lr in {best.lr, lowest.lr}:
            told.append(f"{point.lr:g} is the {where} end: widen the range with {option}, the best may lie beyond it")
    return told


def unsettled(points: Sequence[Point], found: Recommendation) -> str:
    """Why the ranking may turn in a longer training: another rate has the lowest training loss; else empty.

    Measured (docs/sweep.md): in short trainings the metric can lag behind the loss, most where an average of the
    weights is validated.
    """
    told = [p for p in points if p.became == "trained" and p.loss is not None]
    if found.lr is None or not told:
        return ""
    lowest = min(told, key=lambda p: p.loss or 0.0)
    if lowest.lr in {found.lr, found.best, *found.tied}:
        return ""
    best = next((p for p in told if p.lr == found.best), None)
    beside = f", {best.loss:.4g} at {best.lr:g}" if best else ""
    said = f"the training loss is lowest at {lowest.lr:g} ({lowest.loss:.4g}{beside})"
    return f"{said}: the ranking may turn, train each longer (--epochs)"
