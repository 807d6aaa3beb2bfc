"""Whether memory grows with the calls without end: one rule for the blocks of a bench and the windows of a soak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: The first part of a run says nothing about a leak: allocators are still filling their pools.
_SETTLING = 0.25
#: With fewer readings after that nothing is said.
_FEW = 12
#: Less than this is no leak but a buffer: MB over the judged part, or this share of the memory.
_LEAK_MB, _LEAK_SHARE = 4.0, 0.01
#: A trend is judged on the medians of so many groups of readings: neighbouring readings are alike.
_GROUPS = 36
#: How often chance may make a third of the judged part rise.
_CHANCE = 0.05
#: Kendall's tau over the whole judged part. Without it 13 of 150 random walks were called a leak at one of three looks,
#: with it 6, and a leak of 10 MB in noise of 1 MB is still found (27 of 30).
_STEADY = 0.85


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the memory changed after the first quarter of a run.

    `leaks` is None where there are too few readings to say.
    """

    mb_per_1000_calls: float
    over_mb: float  # what that makes over the judged part
    peak_mb: float
    leaks: bool | None


def memory_growth(rss_mb: Sequence[float] | np.ndarray, calls: Sequence[float] | np.ndarray) -> Growth:
    """The growth of the memory by the Theil-Sen slope (the median of the slopes of all pairs of readings).

    It is a leak when it is more than 4 MB and 1 % of the memory over the judged part, and the memory rises in each
    third of that part (Kendall's tau, one-sided p below 0.05) and steadily over the whole (tau at least 0.85): pools
    that fill up stop, leaks do not.

    Args:
        rss_mb: resident memory after each block or window of calls, in MB; at least one.
        calls: how many calls each of them had.
    """
    memory, done = np.asarray(rss_mb, dtype=np.float64), np.cumsum(calls) / 1000
    peak, start = float(memory.max()), math.floor(_SETTLING * memory.size)
    if memory.size - start < _FEW:
        return Growth(mb_per_1000_calls=math.nan, over_mb=math.nan, peak_mb=peak, leaks=None)
    rss, thousands = grouped(memory[start:]), grouped(done[start:])
    slope = _slope(rss, thousands)
    over = slope * float(thousands[-1] - thousands[0])
    matters = over > max(_LEAK_MB, _LEAK_SHARE * float(rss[0]))
    return Growth(mb_per_1000_calls=slope, over_mb=over, peak_mb=peak, leaks=bool(matters and _rises(rss)))


def grouped(values: np.ndarray) -> np.ndarray:
    """The medians of at most 36 groups of neighbours."""
    return np.array([np.median(group) for group in np.array_split(values, min(_GROUPS, len(values)))])


def _slope(values: np.ndarray, places: np.ndarray) -> float:
    """The Theil-Sen slope. Not SciPy's: importing its statistics takes a second, which each bench would pay."""
    first, second = np.triu_indices(values.size, 1)
    return float(np.median((values[second] - values[first]) / (places[second] - places[first])))


def _rises(rss: np.ndarray) -> bool:
    return _tau(rss)[0] >= _STEADY and all(_tau(third)[1] < _CHANCE for third in np.array_split(rss, 3))


def _tau(values: np.ndarray) -> tuple[float, float]:
    """Kendall's tau with the order of the values, and the chance of one so high (one-sided p)."""
    from scipy import stats

    if (values == values[0]).all():
        return 0.0, 1.0
    found = stats.kendalltau(np.arange(values.size), values, alternative="greater")
    return float(found.statistic), float(found.pvalue)
