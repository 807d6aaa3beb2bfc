"""What the verdict promises, over its whole plan: simulated series, recordings, and LoadGen as the oracle of its rule.

The same with 10,000 runs, and with what other rules say: bench/verdict_simulation.py and bench/verdict_replay.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import verdict_replay  # noqa: E402
import verdict_rules  # noqa: E402
import verdict_series  # noqa: E402
import verdict_simulation  # noqa: E402

from deploytk.budget import Budget  # noqa: E402
from deploytk.judge import CALLS, judge, plan_for  # noqa: E402

RUNS = 1000
PLACES = verdict_simulation.PLACES
#: 5 %, and three standard deviations of a share of 5 % among RUNS.
AT_THE_BUDGET = 5.0 + 300 * (0.05 * 0.95 / RUNS) ** 0.5


@pytest.mark.parametrize("name", verdict_series.PROMISED)
def test_the_promises_hold_over_the_whole_plan(name: str) -> None:
    told = verdict_simulation.simulate(verdict_series.PROMISED[name], runs=RUNS, seed=11)
    assert told["10 % over"]["pass"] <= 2.0
    assert told["10 % under"]["pass"] >= 80.0
    assert told["10 % under"]["fail"] <= 2.0
    assert told["at the budget"]["pass"] <= 5.0
    assert told["at the budget"]["fail"] <= 5.0


@pytest.mark.parametrize("name", ["AR(1) 0.9", "drift, one wave", "heavy tail, Pareto"])
def test_a_plan_that_goes_on_errs_no_more_often(name: str) -> None:
    plan = verdict_simulation.LONGER
    told = verdict_simulation.simulate(verdict_series.PROMISED[name], runs=150, plan=plan, seed=16)
    assert told["10 % over"]["pass"] <= 2.0
    assert told["10 % under"]["pass"] >= 80.0
    assert told["at the budget"]["pass"] <= 8.0  # of 150
    assert told["at the budget"]["fail"] <= 8.0


@pytest.mark.parametrize("rounds", verdict_simulation.CUT_AFTER)
@pytest.mark.parametrize("name", verdict_series.PROMISED)
def test_a_series_cut_short_errs_no_more_often(name: str, rounds: int) -> None:
    series, plan = verdict_series.shorter(name, rounds), verdict_simulation.cut_short(rounds)
    told = verdict_simulation.simulate(series, runs=RUNS, plan=plan, seed=12)
    assert told["10 % over"]["pass"] <= 2.0
    assert told["10 % under"]["fail"] <= 2.0
    assert told["at the budget"]["pass"] <= 5.0
    assert told["at the budget"]["fail"] <= 5.0


@pytest.mark.parametrize("name", ["AR(1) 0.99", "AR(1) 0.997"])
def test_neighbouring_blocks_that_are_alike_do_not_fool_it(name: str) -> None:
    told = verdict_simulation.simulate(verdict_series.STRESS[name], runs=RUNS, seed=13)
    assert told["10 % over"]["pass"] <= 2.0
    assert told["at the budget"]["pass"] <= AT_THE_BUDGET
    assert told["at the budget"]["fail"] <= AT_THE_BUDGET


def test_a_clear_pass_is_not_given_on_the_calm_start_of_a_series_with_a_slow_mode() -> None:
    told = verdict_simulation.simulate(verdict_series.STRESS["15 % slow 3x, runs of 50"], runs=RUNS, seed=14)
    assert told["10 % over"]["pass"] <= 2.0


def test_clear_cases_cost_little() -> None:
    places = {"clear pass": 0.4, "clear fail": 2.0}
    told = verdict_simulation.simulate(verdict_series.PROMISED["AR(1) 0.9"], runs=RUNS, places=places)
    assert told["clear pass"]["pass"] == told["clear fail"]["fail"] == 100.0
    assert told["clear pass"]["calls"] <= 100
    assert told["clear fail"]["calls"] <= 10


def test_other_rules_err_where_this_one_does_not() -> None:
    told = verdict_simulation.simulate(verdict_series.PROMISED["bimodal, runs of 50"], runs=RUNS)
    assert told["10 % over"]["naive, in a row"] > 5
    assert told["at the budget"]["LoadGen, in a row"] > 20
    assert told["10 % over"]["pass"] == 0


def test_the_simulated_plan_is_what_judge_says_look_by_look() -> None:
    latencies = verdict_series.bimodal(
        np.random.default_rng(3), 20, verdict_series.block_times(plan_for(Budget())[-1].rounds, CALLS), run=50
    )
    budget = Budget(latency_ms=63)
    decided = verdict_rules.sequential(latencies, plan_for(budget), budget)
    for row, status, taken in zip(latencies, decided.status, decided.samples, strict=True):
        said, calls = _one_by_one(row.tolist(), budget)
        assert (said, calls) == (("inconclusive", "pass", "fail")[status], taken)


def _one_by_one(samples: list[float], budget: Budget) -> tuple[str, int]:
    """(status, calls) of one series that is judged at every look of the plan."""
    said, calls = "inconclusive", 0
    for look in plan_for(budget):
        calls = look.rounds * CALLS
        said = judge(samples[:calls], [CALLS] * look.rounds, budget, 1, share=look.share, band=look.band).status
        if said == "fail" or (said == "pass" and not look.fail_only):
            return said, calls
    return said, calls


# -- recordings of real models: bench/recordings


RECORDINGS = verdict_replay.recordings()
HELD_OUT = [name for name in RECORDINGS if verdict_replay.held_out(name)]


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_held_out_recording_is_judged_without_error(name: str) -> None:
    told = verdict_replay.replay(RECORDINGS[name], draws=RUNS)
    assert told["10 % over"]["pass"] <= 2.0
    assert told["10 % under"]["fail"] <= 2.0
    assert told["at the budget"]["pass"] <= 5.0
    assert told["at the budget"]["fail"] <= 5.0


OTHER_DAY = [name for name in RECORDINGS if verdict_replay.another_day(name)]


@pytest.mark.parametrize("name", OTHER_DAY)
def test_a_recording_of_another_day_ten_per_cent_within_the_budget_passes(name: str) -> None:
    told = verdict_replay.replay(RECORDINGS[name], draws=RUNS)
    assert told["10 % under"]["pass"] >= 80.0
    assert told["10 % over"]["pass"] <= 2.0


def test_there_are_recordings_of_another_day_and_other_models() -> None:
    shaped = {name.split("_")[0] for name in RECORDINGS if not verdict_replay.held_out(name)}
    assert len(OTHER_DAY) >= 4
    assert any(name.split("_")[0] not in shaped for name in OTHER_DAY)


#: Below this share of slow calls (of 5 % allowed) the plan's 1536 calls are enough on recordings with bursts.
FEW_SLOW = 2.0


def test_a_held_out_recording_clearly_within_the_budget_passes() -> None:
    told = {name: verdict_replay.replay(RECORDINGS[name], draws=300)["10 % under"] for name in HELD_OUT}
    clear = {name: row["pass"] for name, row in told.items() if row["calls over it"] <= FEW_SLOW}
    assert len(clear) >= 2
    assert min(clear.values()) >= 80.0


def test_a_draw_takes_no_call_twice() -> None:
    calls = np.arange(2000.0)
    spread, in_a_row = verdict_replay.drawn(np.random.default_rng(0), calls, rounds=512, draws=50)
    assert all(np.unique(row).size == row.size for row in (*spread, *in_a_row))


def test_a_recording_too_short_for_the_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="1000 calls are too few for 512 blocks of 3"):
        verdict_replay.drawn(np.random.default_rng(0), np.arange(1000.0), rounds=512, draws=1)


# -- LoadGen's rule


@pytest.mark.parametrize(("percentile", "queries"), [(90, 64), (95, 130), (99, 662)])
def test_loadgen_s_published_minimum_query_counts(percentile: float, queries: int) -> None:
    assert verdict_rules.loadgen_needs(percentile) == queries


@pytest.mark.e2e
@pytest.mark.skipif(find_spec("mlperf_loadgen") is None, reason="LoadGen has wheels for CPython 3.11 on Linux only")
@pytest.mark.parametrize(("queries", "percentile"), [(63, 90), (64, 90), (129, 95), (300, 95), (1536, 95), (2000, 99)])
def test_loadgen_leaves_out_as_many_queries_as_our_copy_of_its_rule(
    tmp_path: Path, queries: int, percentile: float
) -> None:
    said = _loadgen(tmp_path, queries, percentile, slow=0)
    assert said["discarded"] == verdict_rules.discarded(queries, percentile)


@pytest.mark.e2e
@pytest.mark.skipif(find_spec("mlperf_loadgen") is None, reason="LoadGen has wheels for CPython 3.11 on Linux only")
def test_loadgen_s_estimate_is_slow_with_one_slow_query_more_than_it_leaves_out(tmp_path: Path) -> None:
    slow = verdict_rules.discarded(200, 95) + 1
    said = _loadgen(tmp_path, 200, 95, slow=slow)
    latencies = np.array([[50.0] * slow + [0.01] * (200 - slow)])
    assert said["estimate_ns"] >= 50e6
    assert not verdict_rules.loadgen_passes(latencies, np.array([200]), Budget(latency_ms=50))[0]
    assert verdict_rules.loadgen_passes(latencies[:, 1:], np.array([199]), Budget(latency_ms=50))[0]


def _loadgen(folder: Path, queries: int, percentile: float, *, slow: int) -> dict[str, int]:
    command = [sys.executable, str(BENCH / "verdict_loadgen.py"), "--queries", str(queries), "--slow", str(slow)]
    asked = subprocess.run(
        [*command, "--percentile", str(percentile), "--out", str(folder)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(asked.stdout.splitlines()[-1]))
