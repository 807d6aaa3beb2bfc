"""The verdict on latency samples: one-sided, distribution-free, and aware that neighbouring samples are alike.

What is judged is the share of calls that take longer than the budget. A percentile within the budget means that this
share is below 1 - percentile. How it works and how often it errs: docs/verdict.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from deploytk.budget import Budget, Verdict
from deploytk.measurement import percentile

#: With fewer blocks their variance says too little, and a block counts as one sample.
MIN_BLOCKS = 10
_ENOUGH_MERGED = 15
_MOST_SAMPLES = 1_000_000
#: A latency of at least this share of the budget is near it.
_NEAR = 0.5


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What samples say about the share of calls over the budget; `design_effect` samples count as one."""

    samples: int
    blocks: int
    over: int
    design_effect: float
    lower: float
    upper: float


def judge(samples_ms: Sequence[float], blocks: Sequence[int], budget: Budget, batch: int, *, looks: int = 1) -> Verdict:
    """Pass, fail or inconclusive for the samples of one batch size.

    Args:
        samples_ms: every sample in order, in ms for the whole batch; nothing may be clipped.
        blocks: how many consecutive samples each block holds; blocks are spread over time. Empty: one single block.
        looks: how often the caller may judge one growing series before it stops; each look costs confidence.
    """
    wrong = _not_a_latency(samples_ms)
    if wrong:
        return Verdict(status="fail", reasons=(wrong,))
    if not samples_ms:
        return Verdict(status="inconclusive", reasons=("There is no sample.",))
    latencies = np.asarray(samples_ms, dtype=np.float64) / (batch if budget.per == "item" else 1)
    found = weigh(latencies, blocks, budget, looks=looks)
    allowed = _allowed(budget)
    told = _told(latencies, found, budget)
    if found.upper < allowed:
        return Verdict(status="pass", reasons=(f"{told}: within the budget.",))
    if found.lower > allowed:
        return Verdict(status="fail", reasons=(f"{told}: over the budget.",))
    return Verdict(status="inconclusive", reasons=(f"{told}: not decided. {_more(found, budget, looks)}",))


def weigh(latencies: np.ndarray, blocks: Sequence[int], budget: Budget, *, looks: int = 1) -> Evidence:
    """The one-sided bounds on the share of calls over the budget, for latencies in the budget's own unit."""
    counts = list(blocks) or [latencies.size]
    if sum(counts) != latencies.size or min(counts) < 1:
        raise ValueError(f"blocks hold {sum(counts)} samples, not {latencies.size}")
    over = latencies > budget.latency_ms
    effect = _design_effect(latencies, over, counts, budget)
    samples, exceeding = latencies.size / effect, float(over.sum()) / effect
    alpha = (1.0 - budget.confidence) / looks
    return Evidence(
        samples=latencies.size,
        blocks=len(counts),
        over=int(over.sum()),
        design_effect=effect,
        lower=_lower(exceeding, samples, alpha),
        upper=_upper(exceeding, samples, alpha),
    )


def samples_needed(budget: Budget, *, looks: int = 1) -> int:
    """How many independent samples, none of them over the budget, a pass takes: 59 for p95 at 95 % confidence."""
    alpha = (1.0 - budget.confidence) / looks
    return math.floor(math.log(alpha) / math.log(budget.percentile / 100.0)) + 1


def _not_a_latency(samples_ms: Sequence[float]) -> str:
    """The sentence about samples no clock can have given, or the empty string."""
    wrong = [s for s in samples_ms if not (math.isfinite(s) and s > 0)]
    if not wrong:
        return ""
    return (
        f"{len(wrong)} of {len(samples_ms)} samples are no latency (the first is {wrong[0]} ms): "
        "the measurement is broken, and a broken measurement does not pass."
    )


def _design_effect(latencies: np.ndarray, over: np.ndarray, counts: list[int], budget: Budget) -> float:
    """How many samples count as one, at least 1.

    The variance between blocks is taken at the budget and at the samples' own percentiles: a clustered series that
    happens to show no exceedance of the budget shows its clusters there. Percentiles far below the budget are left
    out: how calls of 3 and 4 ms follow each other says nothing about calls of 50 ms.
    """
    if len(counts) < MIN_BLOCKS and max(counts) > 1:
        return latencies.size / len(counts)
    thresholds = [over]
    for tail in (_allowed(budget), min(0.5, 2 * _allowed(budget))):
        own = np.partition(latencies, rank := max(0, math.ceil((1 - tail) * latencies.size) - 1))[rank]
        if own >= _NEAR * budget.latency_ms:
            thresholds.append(latencies > own)
    return max(1.0, *(_clustering(exceeding, merged) for exceeding in thresholds for merged in _merged(counts)))


def _merged(counts: list[int]) -> list[list[int]]:
    """The blocks, then two neighbours as one, then four and so on while enough remain: slow drifts show there."""
    found = [counts]
    while len(found[-1]) // 2 >= _ENOUGH_MERGED and max(counts) > 1:
        last = found[-1]
        found.append([sum(last[i : i + 2]) for i in range(0, len(last), 2)])
    return found


def _clustering(over: np.ndarray, counts: list[int]) -> float:
    """The variance of the exceedances between blocks, over that of as many independent samples."""
    share = float(over.mean())
    if len(counts) < 2 or max(counts) == 1 or not 0 < share < 1:
        return 1.0
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    apart = np.add.reduceat(over.astype(np.float64), starts) - share * np.asarray(counts)
    between = float((apart**2).sum()) * len(counts) / (len(counts) - 1)
    return between / (over.size * share * (1 - share))


def _lower(over: float, samples: float, alpha: float) -> float:
    """Clopper and Pearson's lower bound on a share, for an effective number of samples."""
    return float(special.betaincinv(over, samples - over + 1, alpha)) if over > 0 else 0.0


def _upper(over: float, samples: float, alpha: float) -> float:
    """Clopper and Pearson's upper bound."""
    return float(special.betaincinv(over + 1, samples - over, 1 - alpha)) if over < samples else 1.0


def _allowed(budget: Budget) -> float:
    return 1.0 - budget.percentile / 100.0


def _told(latencies: np.ndarray, found: Evidence, budget: Budget) -> str:
    per = "calls" if budget.per == "batch" else "calls, per item,"
    effect = f", {found.design_effect:.1f} alike count as one" if found.design_effect > 1.05 else ""
    return (
        f"p{budget.percentile:g} is {percentile(latencies.tolist(), budget.percentile):.4g} ms; {found.over} of "
        f"{found.samples} {per} took longer than {budget.latency_ms:g} ms (blocks: {found.blocks}{effect}), so at "
        f"{100 * budget.confidence:g} % confidence the share is between {100 * found.lower:.2g} and "
        f"{100 * found.upper:.3g} %, where {100 * _allowed(budget):.3g} % are allowed"
    )


def _more(found: Evidence, budget: Budget, looks: int) -> str:
    """How many more samples would decide, if they turned out like those there are."""
    share, alpha = found.over / found.samples, (1.0 - budget.confidence) / looks
    effect = found.design_effect
    needed = max(found.samples, math.ceil(samples_needed(budget, looks=looks) * effect))
    while needed < _MOST_SAMPLES:
        over, samples = share * needed / effect, needed / effect
        if _upper(over, samples, alpha) < _allowed(budget) or _lower(over, samples, alpha) > _allowed(budget):
            break
        needed = math.ceil(needed * 1.1)
    else:
        return "The percentile is too near the budget to be told apart from it with any reasonable number of samples."
    if found.blocks < MIN_BLOCKS:
        return f"It needs at least {MIN_BLOCKS} blocks spread over time."
    return f"About {max(1, needed - found.samples)} more samples like these would decide."
