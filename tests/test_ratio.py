"""Ratios of latencies: the true ratio lies within the interval as often as stated, drift and alike neighbours too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deploytk.ratio import Ratio, effective, paired, unpaired

TRUE = 1.1
RUNS = 150


def autoregressive(rng: np.random.Generator, count: int, rho: float, spread: float) -> np.ndarray:
    """A stationary AR(1) series of this standard deviation around 0."""
    steps = rng.normal(size=count) * math.sqrt(1 - rho * rho)
    series = np.empty(count)
    series[0] = rng.normal()
    for i in range(1, count):
        series[i] = rho * series[i - 1] + steps[i]
    return spread * series


def rounds(seed: int, count: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Both drift together by 20 %, and each has its own noise, whose neighbours are alike as `rho` says."""
    rng = np.random.default_rng(seed)
    drift = autoregressive(rng, count, 0.95, 0.2)
    a, b = (drift + autoregressive(rng, count, rho, 0.04) for _ in range(2))
    return 10 * np.exp(a), 10 * TRUE * np.exp(b)


def covered(found: list[Ratio]) -> float:
    return float(np.mean([r.low <= TRUE <= r.high for r in found]))


@pytest.mark.parametrize(
    ("count", "rho"), [*((c, r) for c in (20, 60) for r in (0.0, 0.5, 0.9)), (60, 0.95), (160, 0.9), (160, 0.99)]
)
def test_paired_rounds_cover_the_true_ratio_as_often_as_stated(count: int, rho: float) -> None:
    found = [paired(*rounds(seed, count, rho), confidence=0.95) for seed in range(RUNS)]
    assert covered(found) >= 0.93


def test_ratios_far_from_one_are_told_from_it_however_they_drift() -> None:
    turning = np.exp(0.01 * np.sin(np.linspace(0, 5, 160)))
    found = paired(np.full(160, 5.0), 5.0 * 0.34 * turning)
    assert 0.31 < found.low < 0.34 < found.high < 0.36


def test_an_interval_that_takes_alike_rounds_for_independent_ones_would_not() -> None:
    def naive(seed: int) -> Ratio:
        a, b = rounds(seed, 60, 0.9)
        ratios = np.sort(b / a)
        return Ratio(value=float(np.median(ratios)), low=ratios[21], high=ratios[38], confidence=0.95)

    assert covered([naive(seed) for seed in range(RUNS)]) < 0.8


def test_the_drift_that_both_share_does_not_widen_the_paired_interval() -> None:
    a, b = rounds(1, 60, 0.0)
    together = paired(a, b)
    apart = unpaired([[x] for x in a], [[x] for x in b])
    assert together.bounded
    assert together.high / together.low < 1.07
    assert math.log(apart.high / apart.low) > 3 * math.log(together.high / together.low)


@pytest.mark.parametrize("percent", [10.0, 50.0, 90.0])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_unpaired_runs_cover_the_true_ratio_as_often_as_stated(rho: float, percent: float) -> None:
    def once(seed: int) -> Ratio:
        rng = np.random.default_rng(seed)
        blocks = [np.exp(autoregressive(rng, 300, rho, 0.05)).reshape(60, 5) for _ in range(2)]
        return unpaired(10 * blocks[0], 10 * TRUE * blocks[1], 0.95, percent=percent)

    assert covered([once(seed) for seed in range(RUNS)]) >= 0.93


def test_sixty_steady_blocks_tell_ten_per_cent_apart() -> None:
    rng = np.random.default_rng(3)
    a, b = (np.exp(0.03 * rng.normal(size=(60, 5))) for _ in range(2))
    found = unpaired(a, 1.1 * b)
    assert 1.05 < found.low < 1.1 < found.high < 1.15


def test_one_switch_between_two_speeds_is_in_the_interval() -> None:
    slow_then_fast = [[15.0 + 0.01 * i] * 5 for i in range(20)] + [[11.0 + 0.01 * i] * 5 for i in range(20)]
    found = unpaired(slow_then_fast, slow_then_fast)
    assert found.value == 1.0
    assert found.low < 0.85 and found.high > 1.15


def test_too_few_rounds_bound_nothing() -> None:
    found = paired([10, 11, 10, 12, 10], [20, 23, 21, 25, 22])
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.value == pytest.approx(2.0909, abs=1e-4)


def test_independent_samples_count_in_full_and_repeated_ones_once() -> None:
    rng = np.random.default_rng(5)
    each = rng.normal(10, 1, size=400)
    assert effective(each, [1] * 400) > 200
    assert effective(np.repeat(each[:40], 10), [10] * 40) < 45


def test_what_is_no_latency_has_no_ratio() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        paired([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite numbers above 0"):
        paired([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one"):
        unpaired([], [[1.0]])
