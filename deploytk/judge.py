"""The verdict on latency samples: one-sided, distribution-free, and aware that neighbouring samples are alike.

What is judged is the share of calls that take longer than the budget. A percentile within the budget means that this
share is below 1 - percentile. How it works and how often it errs: docs/verdict.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from deploytk.budget import Budget, Verdict
from deploytk.measurement import percentile

Band = tuple[float, float]
#: The band of a look that decides whatever the bounds allow.
WHOLE: Band = (1.0, 1.0)

#: Calls per block. A block is short: what lasts longer than a block is then seen by several of them.
CALLS = 3
#: With fewer blocks their variance says too little, and a block counts as one sample.
MIN_BLOCKS = 10
#: With fewer blocks a slow mode may not have been seen at all, and only what is far from the budget is decided.
SURE_BLOCKS = 30
#: Neighbouring blocks are merged while as many remain. When nothing more is to come, merged blocks of more than
#: eight must leave more: their differences are to be those of neighbours.
_ENOUGH_MERGED = 15
_SIZES_AT_LAST = 4
_ENOUGH_AT_LAST = 60
_MOST_SAMPLES = 1_000_000
#: A latency of at least this share of the budget is near it.
_NEAR = 0.5
#: A latency of this many times the budget is clearly over it.
_FAR = 1.25
#: Where even the fastest call is this many times the budget, the case is clear however few the calls are.
_PLAINLY = 1.1
#: The first look that may pass comes after this many rounds, or later where the percentile takes more samples.
_FIRST_ROUNDS = 20
#: A plan that has decided nothing, and has time left, goes on to so many times its rounds.
_LONGER = 4
#: (rounds, share, band) of the looks that can only fail; (share, band) of the others, each after twice the rounds.
_EARLY = ((3, 0.02, (0.0, _FAR)), (6, 0.03, (0.0, _FAR)))
_LOOKS = ((0.15, (0.65, 1.2)), (0.15, (0.76, 1.1)), (0.15, (0.81, 1.1)), (0.2, (0.9, 1.05)), (0.3, WHOLE))

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Look:
    """One time at which a growing series is judged: after `rounds` blocks, with `share` of the error allowed.

    `band` is in multiples of the budget: a percentile between its ends is left to a later look, because the first
    blocks of a series that drifts are not like the rest.
    """

    rounds: int
    share: float
    fail_only: bool = False
    band: Band = WHOLE


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What samples say about the share of calls over the budget; `design_effect` samples count as one."""

    samples: int
    blocks: int
    over: int
    design_effect: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The same for many series at once, one entry per series."""

    over: Array
    design_effect: Array
    lower: Array
    upper: Array


def plan_for(budget: Budget) -> tuple[Look, ...]:
    """When a series of blocks of CALLS calls is judged; the last look ends it.

    The shares of the looks sum up to 1 (Bonferroni), so that the whole plan errs no more often than the confidence
    says. A series cut short by a time limit is judged with the share of the look it was on the way to and no band.
    """
    first = max(_FIRST_ROUNDS, math.ceil(samples_needed(budget, share=_LOOKS[0][0]) / CALLS))
    early = [Look(rounds=rounds, share=share, band=band, fail_only=True) for rounds, share, band in _EARLY]
    return (*early, *(Look(rounds=first * 2**i, share=share, band=band) for i, (share, band) in enumerate(_LOOKS)))


def longer(plan: Sequence[Look]) -> tuple[Look, ...]:
    """The plan with two looks for its last one, each with half of its share: the second after four times the rounds."""
    last = replace(plan[-1], share=plan[-1].share / 2)
    return (*plan[:-1], last, replace(last, rounds=_LONGER * last.rounds))


def judge(
    samples_ms: Sequence[float],
    blocks: Sequence[int],
    budget: Budget,
    batch: int,
    *,
    share: float = 1.0,
    band: Band = WHOLE,
) -> Verdict:
    """Pass, fail or inconclusive for the samples of one batch size.

    Args:
        samples_ms: every sample in order, in ms for the whole batch; nothing may be clipped.
        blocks: how many consecutive samples each block holds; blocks are spread over time. Empty: one single block.
        share: the part of the allowed error (one minus the confidence) that this look at a growing series may use.
        band: what is decided at this look is a percentile below the first or above the second, times the budget.
    """
    wrong = _not_a_latency(samples_ms)
    if wrong:
        return Verdict(status="fail", reasons=(wrong,))
    if not samples_ms:
        return Verdict(status="inconclusive", reasons=("There is no sample.",))
    latencies = np.asarray(samples_ms, dtype=np.float64) / (batch if budget.per == "item" else 1)
    found = weigh(latencies, blocks, budget, share=share, band=band)
    allowed = _allowed(budget)
    told = _told(latencies, found, budget)
    if found.upper < allowed:
        return Verdict(status="pass", reasons=(f"{told}: within the budget.",))
    if found.lower > allowed:
        return Verdict(status="fail", reasons=(f"{told}: over the budget.",))
    return Verdict(status="inconclusive", reasons=(f"{told}: not decided. {_more(found, budget, share)}",))


def weigh(
    latencies: Array, blocks: Sequence[int], budget: Budget, *, share: float = 1.0, band: Band = WHOLE
) -> Evidence:
    """The one-sided bounds on the share of calls over the budget, for latencies in the budget's own unit."""
    found = weigh_many(latencies[np.newaxis], blocks, budget, share=share, band=band)
    return Evidence(
        samples=latencies.size,
        blocks=len(blocks) or 1,
        over=int(found.over[0]),
        design_effect=float(found.design_effect[0]),
        lower=float(found.lower[0]),
        upper=float(found.upper[0]),
    )


def weigh_many(
    latencies: Array, blocks: Sequence[int], budget: Budget, *, share: float = 1.0, band: Band = WHOLE
) -> Bounds:
    """The same bounds for many series of equal shape: one series in each row.

    Raises:
        ValueError: the blocks do not hold as many samples as there are.
    """
    samples = latencies.shape[1]
    counts = list(blocks) or [samples]
    if sum(counts) != samples or min(counts) < 1:
        raise ValueError(f"blocks hold {sum(counts)} samples, not {samples}")
    if len(counts) < SURE_BLOCKS:
        band = (min(band[0], _NEAR), max(band[1], _FAR))
    nearly, clearly = (latencies > budget.latency_ms * end for end in band)
    clearly |= latencies.min(axis=1, keepdims=True) > _PLAINLY * budget.latency_ms
    effect = _design_effect(latencies, (nearly, clearly), counts, budget, last=band == WHOLE)
    alpha = (1.0 - budget.confidence) * share
    return Bounds(
        over=(latencies > budget.latency_ms).sum(axis=1),
        design_effect=effect,
        lower=_lower(clearly.sum(axis=1) / effect, samples / effect, alpha),
        upper=_upper(nearly.sum(axis=1) / effect, samples / effect, alpha),
    )


def samples_needed(budget: Budget, *, share: float = 1.0) -> int:
    """How many independent samples, none of them over the budget, a pass takes: 59 for p95 at 95 % confidence."""
    alpha = (1.0 - budget.confidence) * share
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


def _design_effect(
    latencies: Array, exceeding: Sequence[Array], counts: list[int], budget: Budget, *, last: bool
) -> Array:
    """How many samples count as one in each row, at least 1.

    The variance between blocks is taken at the budget and at the samples' own percentiles: a clustered series that
    happens to show no exceedance of the budget shows its clusters there. Percentiles far below the budget are left
    out: how calls of 3 and 4 ms follow each other says nothing about calls of 50 ms.

    At the last look the measurement is over, and what is asked is the share of calls in it. A block then stands for
    its own stretch of time, so that only the differences between neighbours count as chance (von Neumann's estimate of
    a variance): a drift that was seen from end to end makes nothing uncertain. At an earlier look it may go on, and
    all that differs counts.
    """
    runs, samples = latencies.shape
    if len(counts) < MIN_BLOCKS and max(counts) > 1:
        return np.full(runs, samples / len(counts))
    effect = np.ones(runs)
    merged = _merged(counts, last=last)
    for over in exceeding:
        effect = np.maximum(effect, _most_clustering(over, merged, local=last))
    for tail in (_allowed(budget), min(0.5, 2 * _allowed(budget))):
        rank = max(0, math.ceil((1 - tail) * samples) - 1)
        own = np.partition(latencies, rank, axis=1)[:, rank : rank + 1]
        clustering = _most_clustering(latencies > own, merged, local=last)
        effect = np.where(own[:, 0] >= _NEAR * budget.latency_ms, np.maximum(effect, clustering), effect)
    return effect


def _merged(counts: list[int], *, last: bool) -> list[list[int]]:
    """The blocks, then two neighbours as one, then four and so on while enough remain: slow drifts show there."""
    found = [counts]
    while max(counts) > 1:
        before = found[-1]
        enough = _ENOUGH_AT_LAST if last and len(found) >= _SIZES_AT_LAST else _ENOUGH_MERGED
        if len(before) // 2 < enough:
            break
        found.append([sum(before[i : i + 2]) for i in range(0, len(before), 2)])
    return found


def _most_clustering(over: Array, merged: list[list[int]], *, local: bool) -> Array:
    """The largest clustering of each row over all sizes of blocks."""
    found: Array = np.max([_clustering(over, counts, local=local) for counts in merged], axis=0)
    return found


def _clustering(over: Array, counts: list[int], *, local: bool) -> Array:
    """The variance of the exceedances between blocks, over that of as many independent samples, for each row.

    `local`: from the differences between neighbouring blocks alone.
    """
    runs, samples = over.shape
    if len(counts) < 2 or max(counts) == 1:
        return np.ones(runs)
    share = over.mean(axis=1)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    inside = np.add.reduceat(over, starts, axis=1, dtype=np.float64)
    apart = inside - share[:, np.newaxis] * np.asarray(counts)
    squares = (np.diff(apart, axis=1) ** 2 / 2 if local else apart**2).sum(axis=1)
    independent = samples * share * (1 - share)
    between = squares * len(counts) / (len(counts) - 1)
    found: Array = np.divide(between, independent, out=np.ones(runs), where=independent > 0)
    return found


def _lower(over: Array, samples: Array, alpha: float) -> Array:
    """Clopper and Pearson's lower bound on a share, for an effective number of samples."""
    return np.where(over > 0, special.betaincinv(np.maximum(over, 1e-9), samples - over + 1, alpha), 0.0)


def _upper(over: Array, samples: Array, alpha: float) -> Array:
    """Clopper and Pearson's upper bound."""
    return np.where(over < samples, special.betaincinv(over + 1, np.maximum(samples - over, 1e-9), 1 - alpha), 1.0)


def _allowed(budget: Budget) -> float:
    return 1.0 - budget.percentile / 100.0


def _told(latencies: Array, found: Evidence, budget: Budget) -> str:
    per = "calls" if budget.per == "batch" else "calls, per item,"
    effect = f", {found.design_effect:.1f} alike count as one" if found.design_effect > 1.05 else ""
    few = f"; with fewer than {SURE_BLOCKS} only a clear case is decided" if found.blocks < SURE_BLOCKS else ""
    return (
        f"p{budget.percentile:g} is {percentile(latencies.tolist(), budget.percentile):.4g} ms; {found.over} of "
        f"{found.samples} {per} took longer than {budget.latency_ms:g} ms (blocks: {found.blocks}{effect}{few}), so at "
        f"{100 * budget.confidence:g} % confidence the share is between {100 * found.lower:.2g} and "
        f"{100 * found.upper:.3g} %, where {100 * _allowed(budget):.3g} % are allowed"
    )


def _more(found: Evidence, budget: Budget, look: float) -> str:
    """How many more samples would decide, if they turned out like those there are."""
    share, alpha = found.over / found.samples, (1.0 - budget.confidence) * look
    effect = found.design_effect
    needed = max(found.samples, math.ceil(samples_needed(budget, share=look) * effect))
    while needed < _MOST_SAMPLES:
        over, samples = np.array(share * needed / effect), np.array(needed / effect)
        if _upper(over, samples, alpha) < _allowed(budget) or _lower(over, samples, alpha) > _allowed(budget):
            break
        needed = math.ceil(needed * 1.1)
    else:
        return "The percentile is too near the budget to be told apart from it with any reasonable number of samples."
    if found.blocks < MIN_BLOCKS:
        return f"It needs at least {MIN_BLOCKS} blocks spread over time."
    if found.blocks < SURE_BLOCKS:
        needed = max(needed, math.ceil(SURE_BLOCKS * found.samples / found.blocks))
    return f"About {max(1, needed - found.samples)} more samples like these would decide."
