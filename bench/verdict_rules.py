"""The rules that judge latencies, for many series at once: deploytk's whole plan, the naive rule, and MLPerf LoadGen's.

Each takes one series per row. LoadGen's is written down here from its source (loadgen/results.cc and
early_stopping.cc of mlcommons/inference); tests/test_verdict_rules.py checks it against LoadGen itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from deploytk.budget import Budget
from deploytk.judge import CALLS, Look, weigh_many

Array = npt.NDArray[Any]

INCONCLUSIVE, PASS, FAIL = 0, 1, 2
LOADGEN_CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the plan said about each series, and after how many samples."""

    status: Array
    samples: Array

    def percent(self, status: int) -> float:
        """How many of the series ended so, in percent."""
        return 100 * float((self.status == status).mean())


def sequential(latencies: Array, plan: tuple[Look, ...], budget: Budget, *, spread: float = 0.0) -> Decided:
    """deploytk's verdict on each row, which holds all blocks of the plan, CALLS samples each, in order of time.

    A look takes the first blocks, as a bench does whose clock runs with them. Or it takes as many evenly out of the
    first part of the row, `spread` of the whole, as a bench does that measures other things in between.
    """
    status = np.full(len(latencies), INCONCLUSIVE)
    samples = np.full(len(latencies), plan[-1].rounds * CALLS)
    asked = np.arange(len(latencies))
    for look in plan:
        taken = look.rounds * CALLS
        seen = calls_used(latencies[asked], taken, spread=spread)
        found = weigh_many(seen, [CALLS] * look.rounds, budget, share=look.share, band=look.band)
        allowed = 1 - budget.percentile / 100
        fails = found.lower > allowed
        passes = (found.upper < allowed) & (not look.fail_only)
        status[asked[passes]], status[asked[fails]] = PASS, FAIL
        samples[asked[passes | fails]] = taken
        asked = asked[~(passes | fails)]
    return Decided(status=status, samples=samples)


def calls_used(latencies: Array, taken: int, *, spread: float = 0.0) -> Array:
    """`taken` calls of each row: the first ones, or blocks evenly out of its first part (`spread`, 1: the whole)."""
    rounds, all_rounds = taken // CALLS, latencies.shape[1] // CALLS
    if not spread:
        return latencies[:, :taken]
    until = max(rounds, int(spread * all_rounds))
    blocks = latencies.reshape(len(latencies), all_rounds, CALLS)
    return blocks[:, np.arange(rounds) * until // rounds].reshape(len(latencies), taken)


def naive_passes(latencies: Array, samples: Array, budget: Budget, *, spread: float = 0.0) -> Array:
    """Whether the nearest-rank percentile of as many calls as `samples` says for each row is under the budget."""
    allowed = {int(n): int(n) - max(1, math.ceil(budget.percentile / 100 * n)) for n in np.unique(samples)}
    return _within(latencies, samples, budget, allowed, spread)


def loadgen_passes(latencies: Array, samples: Array, budget: Budget, *, spread: float = 0.0) -> Array:
    """Whether LoadGen's early-stopping estimate from as many calls is under the budget."""
    allowed = {int(n): discarded(int(n), budget.percentile) for n in np.unique(samples)}
    return _within(latencies, samples, budget, allowed, spread)


def _within(latencies: Array, samples: Array, budget: Budget, allowed: dict[int, int], spread: float) -> Array:
    """Whether at most `allowed[n]` of the n calls of each row are at the budget or over; never where that is -1."""
    found = np.zeros(len(latencies), dtype=bool)
    for n, may_exceed in allowed.items():
        rows = samples == n
        slow = calls_used(latencies[rows], n, spread=spread) >= budget.latency_ms
        found[rows] = slow.sum(axis=1) <= may_exceed
    return found


@lru_cache
def discarded(queries: int, percentile: float) -> int:
    """How many of the slowest queries LoadGen's SingleStream leaves out of its estimate; -1 with too few queries.

    The estimate is the t-th slowest query for the largest t such that t or fewer of `queries` would be over the
    percentile with a probability below 1 - LOADGEN_CONFIDENCE, were the percentile exactly there.
    """
    over = 1 - percentile / 100
    most = -1
    while stats.binom.cdf(most + 2, queries, over) < 1 - LOADGEN_CONFIDENCE:
        most += 1
    return most


def loadgen_needs(percentile: float) -> int:
    """The fewest queries for which LoadGen gives an estimate: 64 for p90, 130 for p95, 662 for p99."""
    queries = 2
    while discarded(queries, percentile) < 0:
        queries += 1
    return queries
