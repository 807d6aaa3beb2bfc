"""The verdict: what it says, what it must never say, and how often it errs on series whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.budget import Budget
from deploytk.judge import CALLS, WHOLE, judge, longer, plan_for, samples_needed, weigh, weigh_many

BUDGET = Budget(latency_ms=50)


def spread(samples: list[float]) -> list[int]:
    """Every sample a block of its own."""
    return [1] * len(samples)


def test_59_samples_none_over_are_the_fewest_that_pass_p95_at_95_percent() -> None:
    assert judge([40.0] * 59, [1] * 59, BUDGET, 1).status == "pass"
    assert judge([40.0] * 58, [1] * 58, BUDGET, 1).status == "inconclusive"
    assert samples_needed(BUDGET) == 59


@pytest.mark.parametrize(("percentile", "needed"), [(90, 29), (95, 59), (99, 299)])
def test_a_higher_percentile_needs_more_samples(percentile: float, needed: int) -> None:
    budget = Budget(latency_ms=50, percentile=percentile)
    assert samples_needed(budget) == needed
    assert judge([20.0] * needed, [1] * needed, budget, 1).status == "pass"
    assert judge([20.0] * (needed - 1), [1] * (needed - 1), budget, 1).status == "inconclusive"


def test_one_sample_over_needs_93_as_clopper_and_pearson_say() -> None:
    assert judge([60.0] + [40.0] * 92, [1] * 93, BUDGET, 1).status == "pass"
    assert judge([60.0] + [40.0] * 91, [1] * 92, BUDGET, 1).status == "inconclusive"


def test_samples_in_one_row_never_pass_however_many() -> None:
    verdict = judge([40.0] * 1000, [], BUDGET, 1)
    assert verdict.status == "inconclusive"
    assert "blocks" in verdict.reasons[0]


def test_three_blocks_wholly_over_the_budget_fail() -> None:
    assert judge([80.0] * 15, [5, 5, 5], BUDGET, 1).status == "fail"


def test_a_clustered_tail_under_the_budget_counts_for_fewer_samples() -> None:
    # 12 of 400 samples are slower than the rest, but all in two blocks; none is over the budget.
    clustered = [49.0 if b in (3, 11) and c < 6 else 30.0 for b in range(40) for c in range(10)]
    scattered = [49.0 if (b * 10 + c) % 34 == 0 else 30.0 for b in range(40) for c in range(10)]
    few, many = (weigh(_array(s), [10] * 40, BUDGET) for s in (clustered, scattered))
    assert few.over == many.over == 0
    assert few.design_effect > 3 > many.design_effect
    assert few.upper > many.upper


def test_per_item_divides_by_the_batch() -> None:
    samples = [160.0] * 100
    assert judge(samples, spread(samples), BUDGET, 4).status == "fail"
    per_item = Budget(latency_ms=50, per="item")
    assert judge(samples, spread(samples), per_item, 4).status == "pass"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_a_sample_that_is_no_latency_fails_with_a_reason(wrong: float) -> None:
    verdict = judge([40.0] * 500 + [wrong], [1] * 501, BUDGET, 1)
    assert verdict.status == "fail"
    assert "no latency" in verdict.reasons[0]


def test_no_sample_is_inconclusive() -> None:
    assert judge([], [], BUDGET, 1).status == "inconclusive"


def test_the_reason_has_the_numbers_and_how_many_more_are_needed() -> None:
    (reason,) = judge([40.0] * 30, [1] * 30, BUDGET, 1).reasons
    assert "0 of 30 calls took longer than 50 ms" in reason
    assert "About 29 more samples" in reason


def test_each_look_costs_confidence() -> None:
    assert judge([40.0] * 59, [1] * 59, BUDGET, 1, share=0.3).status == "inconclusive"
    assert judge([40.0] * 83, [1] * 83, BUDGET, 1, share=0.3).status == "pass"
    assert samples_needed(BUDGET, share=0.3) == 82


@pytest.mark.parametrize("percentile", [50, 90, 95, 99, 99.9])
@pytest.mark.parametrize("goes_on", [0, 1, 2])
def test_the_plan_spends_the_allowed_error_once_and_its_first_look_can_pass(percentile: float, goes_on: int) -> None:
    budget = Budget(latency_ms=50, percentile=percentile)
    plan = plan_for(budget)
    for _ in range(goes_on):
        plan = longer(plan)
    assert plan[-1].rounds == 4**goes_on * plan_for(budget)[-1].rounds
    assert sum(look.share for look in plan) == pytest.approx(1)
    assert [look.rounds for look in plan] == sorted({look.rounds for look in plan})
    assert plan[-1].band == WHOLE
    first = next(look for look in plan if not look.fail_only)
    clear = judge([20.0] * first.rounds * CALLS, [CALLS] * first.rounds, budget, 1, share=first.share, band=first.band)
    assert clear.status == "pass"


def test_a_clear_pass_takes_about_100_calls_and_a_clear_fail_9() -> None:
    plan = plan_for(BUDGET)
    first = next(look for look in plan if not look.fail_only)
    assert first.rounds * CALLS == 96
    assert judge([80.0] * 9, [3, 3, 3], BUDGET, 1, share=plan[0].share, band=plan[0].band).status == "fail"


@pytest.mark.parametrize(("latency_ms", "status"), [(30.0, "pass"), (39.0, "inconclusive"), (52.0, "inconclusive")])
def test_what_lies_in_the_band_of_a_look_is_left_to_a_later_one(latency_ms: float, status: str) -> None:
    samples, blocks = [latency_ms] * 192, [3] * 64
    assert judge(samples, blocks, BUDGET, 1, share=0.15, band=(0.7, 1.1)).status == status
    assert judge(samples, blocks, BUDGET, 1, share=0.15).status == ("pass" if latency_ms < 50 else "fail")


def test_few_blocks_decide_only_what_is_far_from_the_budget_and_the_reason_says_so() -> None:
    for latency_ms, status in ((24.0, "pass"), (40.0, "inconclusive"), (54.0, "inconclusive"), (63.0, "fail")):
        verdict = judge([latency_ms] * 87, [3] * 29, BUDGET, 1)
        assert verdict.status == status
        assert "with fewer than 30 only a clear case is decided" in verdict.reasons[0]


def test_where_even_the_fastest_call_is_a_tenth_over_the_budget_nine_calls_suffice() -> None:
    look = plan_for(BUDGET)[0]
    wanted = {"share": look.share, "band": look.band}
    assert judge([56.0] * 9, [3, 3, 3], BUDGET, 1, **wanted).status == "fail"
    assert judge([54.0, *[56.0] * 8], [3, 3, 3], BUDGET, 1, **wanted).status == "inconclusive"


def test_a_drift_seen_to_its_end_is_no_doubt_and_one_that_may_go_on_is() -> None:
    rng = np.random.default_rng(0)
    rising = np.linspace(30, 48, 1536) * np.exp(0.01 * rng.standard_normal(1536))
    blocks = [3] * 512
    assert weigh(rising, blocks, BUDGET).design_effect < 8
    assert weigh(rising, blocks, BUDGET, band=(0.9, 1.1)).design_effect > 40


def test_blocks_that_do_not_add_up_are_a_fault() -> None:
    with pytest.raises(ValueError, match="blocks hold 10 samples, not 12"):
        judge([40.0] * 12, [5, 5], BUDGET, 1)


latencies = st.lists(st.floats(1, 200), min_size=1, max_size=300)


def blocks_of(samples: list[float], size: int) -> list[int]:
    whole, rest = divmod(len(samples), size)
    return [size] * whole + ([rest] if rest else [])


@settings(max_examples=200, deadline=None)
@given(samples=latencies, size=st.integers(1, 20), factor=st.floats(1, 10))
def test_slower_samples_never_turn_fail_into_pass(samples: list[float], size: int, factor: float) -> None:
    blocks = blocks_of(samples, size)
    before = judge(samples, blocks, BUDGET, 1).status
    after = judge([s * factor for s in samples], blocks, BUDGET, 1).status
    assert (before, after) != ("fail", "pass")


@settings(max_examples=200, deadline=None)
@given(samples=latencies, size=st.integers(1, 20), more=st.sets(st.integers(0, 299)))
def test_more_calls_over_the_budget_never_turn_fail_into_pass(samples: list[float], size: int, more: set[int]) -> None:
    blocks = blocks_of(samples, size)
    slower = [500.0 if at in more else sample for at, sample in enumerate(samples)]
    assert (judge(samples, blocks, BUDGET, 1).status, judge(slower, blocks, BUDGET, 1).status) != ("fail", "pass")


@settings(max_examples=200, deadline=None)
@given(samples=latencies, size=st.integers(1, 20), power=st.integers(-6, 6))
def test_another_unit_of_time_changes_nothing(samples: list[float], size: int, power: int) -> None:
    scale = 2.0**power  # exact in floating point
    before = weigh(_array(samples), blocks_of(samples, size), BUDGET)
    after = weigh(_array(samples) * scale, blocks_of(samples, size), Budget(latency_ms=50 * scale))
    assert before == after


@settings(max_examples=200, deadline=None)
@given(samples=latencies, size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_order_inside_a_block_changes_nothing(samples: list[float], size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = [s for at in range(0, len(samples), size) for s in rng.permutation(samples[at : at + size])]
    blocks = blocks_of(samples, size)
    assert weigh(_array(samples), blocks, BUDGET) == weigh(_array(shuffled), blocks, BUDGET)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(1, 200), min_size=60, max_size=60), min_size=1, max_size=4), st.integers(1, 20))
def test_many_series_at_once_are_judged_as_each_alone(rows: list[list[float]], size: int) -> None:
    blocks = blocks_of(rows[0], size)
    many = weigh_many(np.asarray(rows), blocks, BUDGET, share=0.2)
    alone = [weigh(_array(row), blocks, BUDGET, share=0.2) for row in rows]
    assert many.upper.tolist() == [found.upper for found in alone]
    assert many.lower.tolist() == [found.lower for found in alone]


@settings(max_examples=200, deadline=None)
@given(samples=latencies, size=st.integers(1, 20))
def test_the_bounds_hold_the_observed_share_and_the_effect_is_at_least_one(samples: list[float], size: int) -> None:
    found = weigh(_array(samples), blocks_of(samples, size), BUDGET)
    share = found.over / found.samples
    assert 0 <= found.lower <= share + 1e-9
    assert share - 1e-9 <= found.upper <= 1
    assert found.design_effect >= 1


@settings(max_examples=100, deadline=None)
@given(samples=latencies, size=st.integers(1, 20), low=st.floats(0.6, 0.9), high=st.floats(0.91, 0.999))
def test_more_confidence_never_decides_what_less_left_open(
    samples: list[float], size: int, low: float, high: float
) -> None:
    blocks = blocks_of(samples, size)
    less, more = (judge(samples, blocks, Budget(confidence=c), 1).status for c in (low, high))
    assert more in (less, "inconclusive")


@settings(max_examples=100, deadline=None)
@given(samples=st.lists(st.floats(1, 200), max_size=58), size=st.integers(1, 20))
def test_fewer_samples_than_the_percentile_needs_never_pass(samples: list[float], size: int) -> None:
    assert judge(samples, blocks_of(samples, size), BUDGET, 1).status != "pass"


def _array(samples: list[float]) -> np.ndarray:
    return np.asarray(samples)


@pytest.mark.parametrize(("budget_ms", "status"), [(50.0, "pass"), (4.4, "inconclusive")])
def test_two_speeds_of_the_machine_matter_near_the_budget_and_not_far_below_it(budget_ms: float, status: str) -> None:
    rng = np.random.default_rng(0)
    speeds = np.repeat([3.0, 4.0, 3.0], [200, 25, 75]) * np.exp(0.01 * rng.standard_normal(300))
    found = judge(speeds.tolist(), [5] * 60, Budget(latency_ms=budget_ms), 1)
    assert found.status == status
