"""The search over batch sizes on simulated curves: what an exhaustive sweep finds, for a fraction of its calls.

Nothing sleeps here: a simulated process answers at once, and the clock of the search goes by what it would have cost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.batches import parse_batches
from deploytk.budget import Budget
from deploytk.stages import bench_point, bench_sweep
from deploytk.stages.bench_point import Point
from deploytk.stages.bench_table import throughputs

Curve = Callable[[int], float | None]
NAIVE_CALLS = 110
BUDGET = Budget(latency_ms=50)


def linear(per_item: float, fixed: float = 2.0) -> Curve:
    return lambda batch: fixed + per_item * batch


def knee(batch: int) -> float:
    """Free until 8 items fit, then linear: throughput stops growing."""
    return 12.0 if batch <= 8 else 12.0 + 3.0 * (batch - 8)


def cliff(batch: int) -> float | None:
    """No memory above 11."""
    return 3.0 + batch if batch <= 11 else None


def saw_tooth(batch: int) -> float:
    """Batch sizes that are no multiple of 4 pay for the next one, and 3 is the worst of all."""
    return 30.0 if batch == 3 else 4.0 + 2.0 * (-(-batch // 4) * 4)


@pytest.mark.parametrize(("left_s", "decided"), [(0.0, True), (40.0, True), (60.0, False)])
def test_a_plan_that_decides_nothing_goes_on_while_there_is_as_much_time_again(left_s: float, decided: bool) -> None:
    point = Point(spec={}, batch=1, budget=BUDGET)
    rounds = point.plan[-1].rounds
    point.process = SimpleNamespace(close=lambda: None)  # type: ignore[assignment]
    on_the_budget = [49.0] * 19 + [51.0]
    point.samples, point.blocks = (on_the_budget * rounds)[: 3 * rounds], [3] * rounds
    point.used = {"at_s": [0.1 * number for number in range(rounds)]}
    point.look(left_s=left_s)
    assert (point.verdict is not None) == decided
    assert point.plan[-1].rounds == (rounds if decided else 4 * rounds)
    assert point.verdict_now().status == "inconclusive"


class Machine:
    """What a simulated bench has cost so far."""

    def __init__(self, curve: Curve, noise: float = 0.02) -> None:
        self.curve, self.noise = curve, noise
        self.rng = np.random.default_rng(4)
        self.cost_ms = 0.0
        self.opened: list[int] = []

    def process(self, spec: dict[str, Any], logs: Path) -> Process:
        self.opened.append(spec["batch"])
        return Process(self, spec["batch"], logs)


class Process:
    """Stands in for `BatchProcess`."""

    def __init__(self, machine: Machine, batch: int, logs: Path) -> None:
        self.machine, self.batch, self.log, self.command = machine, batch, logs, "again"

    def ask(self, command: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:  # noqa: ARG002
        true = self.machine.curve(self.batch)
        if true is None:
            return {"status": "oom", "reason": "std::bad_alloc"}
        if command["do"] == "open":
            return {"load_ms": 1.0, "details": {}, "peak_rss_mb": 10.0}
        if command["do"] == "warm":
            return {"first_ms": true, "warmup_ms": self.calls(true, 1 if command["least"] else 16)}
        lead = self.calls(true, command["lead"])
        return {"samples_ms": self.calls(true, command["calls"]), "lead_ms": lead}

    def calls(self, true: float, count: int) -> list[float]:
        took = true * np.exp(self.machine.noise * self.machine.rng.standard_normal(count))
        self.machine.cost_ms += float(took.sum())
        return took.tolist()

    def close(self) -> None:
        """Nothing to close."""


class Clock:
    """Stands in for `time`: it goes by what the simulated calls have cost."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.slept_s = machine, 0.0

    def monotonic(self) -> float:
        return self.machine.cost_ms / 1000 + self.slept_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def searched(curve: Curve, budget: Budget = BUDGET, batches: str = "1..64") -> tuple[list[Point], Machine]:
    machine = Machine(curve)
    return swept(machine, parse_batches(batches), budget), machine


def swept(machine: Machine, batches: list[int], budget: Budget = BUDGET, *, is_search: bool = True) -> list[Point]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_point, "BatchProcess", machine.process)
        clock = Clock(machine)
        patch.setattr(bench_sweep, "time", clock)
        patch.setattr(bench_point, "time", clock)
        return bench_sweep.swept(
            {"runtime": "simulated"}, batches, budget, 120.0, Path("logs"), None, may_go_between=is_search
        )


def passing(points: list[Point]) -> list[int]:
    return [p.batch for p in points if p.verdict is not None and p.verdict.status == "pass"]


def exhaustive(curve: Curve, limit_ms: float = 50.0) -> list[int]:
    """Every batch size from 1 to 64 that is within the limit, by the true curve (2 % noise: p95 is 3.3 % above it)."""
    return [b for b in range(1, 65) if (true := curve(b)) is not None and 1.04 * true < limit_ms]


@pytest.mark.parametrize("curve", [linear(13.0), linear(5.0), linear(0.9, 4.0), linear(0.1), knee, cliff, saw_tooth])
def test_the_same_batch_sizes_are_within_the_budget_as_in_an_exhaustive_sweep(curve: Curve) -> None:
    points, machine = searched(curve)
    listed = set(parse_batches("1..64"))
    everything = exhaustive(curve)
    assert [b for b in passing(points) if b in listed] == [b for b in everything if b in listed]
    assert set(passing(points)) <= set(everything)
    # What is larger and within the budget as well is so near it that its proof would have been dear.
    assert all((curve(b) or 0.0) > 0.63 * BUDGET.latency_ms for b in everything if b > max(passing(points)))
    assert len(machine.opened) <= len(listed) + 4


@pytest.mark.parametrize(
    "curve", [linear(13.0), linear(18.0), linear(7.5, 0.0), linear(15.0), linear(30.0), linear(12.0, 0.0)]
)
def test_it_costs_a_fraction_of_the_naive_sweep(curve: Curve) -> None:
    _, machine = searched(curve)
    assert machine.cost_ms < naive_ms(curve) / 5


def naive_ms(curve: Curve) -> float:
    return sum(NAIVE_CALLS * (curve(batch) or 0.0) for batch in parse_batches("1..64"))


def test_a_batch_size_on_the_budget_is_left_open_with_the_command_that_proves_it() -> None:
    on_it = linear(11.4, 2.4)  # 4 items: 48 ms, p95 49.6 of 50
    points, _ = searched(on_it)
    four = next(p for p in points if p.batch == 4)
    assert four.verdict is not None
    assert four.verdict.status == "inconclusive"
    assert "for the proof: --batches 4" in four.verdict.reasons[-1]
    assert passing(points) == [1, 2, 3]


def test_between_batch_sizes_that_bring_as_many_items_per_second_nothing_is_tried_and_that_is_said() -> None:
    points, _ = searched(linear(12.0, 0.0))
    four = next(p for p in points if p.batch == 4)
    assert passing(points) == [1, 2] and four.verdict is not None
    assert four.verdict.reasons[-1] == "Between 2 and 4 nothing was tried: 4 brings no more items per second."


def test_named_batch_sizes_are_proved_however_near_the_budget() -> None:
    machine = Machine(linear(11.5, 0.0))
    points = swept(machine, [1, 4], is_search=False)
    assert passing(points) == [1, 4]
    assert points[1].samples and len(points[1].samples) > 300


def test_where_nothing_is_within_the_budget_yet_the_one_on_it_is_proved() -> None:
    points, _ = searched(linear(46.0, 0.0))
    assert passing(points) == [1]
    assert len(points[0].samples) > 300


def test_batch_1_over_the_budget_is_told_by_a_handful_of_calls() -> None:
    points, machine = searched(linear(80.0, 80.0))
    assert passing(points) == []
    told = {p.batch: (p.status, p.verdict.status if p.verdict else None) for p in points}
    assert [told[batch] for batch in (1, 2, 4, 8, 16)] == [("ok", "fail")] * 5
    assert [told[batch] for batch in (32, 64)] == [("not_run", "inconclusive")] * 2  # a look would take too long
    assert machine.cost_ms < 12 * sum(80.0 * b for b in parse_batches("1..64"))


def test_beyond_the_budget_nothing_is_looked_at_once_a_larger_batch_brought_no_more_items_per_second() -> None:
    points, _ = searched(linear(80.0, 0.0))
    assert [p.status for p in points] == ["ok", "ok", *["not_run"] * 5]
    assert points[2].reason.endswith(
        "batch 1 already misses the budget, and batch 2 brought no more items per second than 1"
    )


def test_batch_sizes_that_are_named_are_looked_at_whatever_they_bring() -> None:
    points = swept(Machine(linear(80.0, 0.0)), [1, 2, 4], is_search=False)
    assert [p.status for p in points] == ["ok"] * 3


def test_beyond_the_memory_nothing_listed_is_tried_and_the_edge_is_found() -> None:
    points, _ = searched(cliff)
    by_batch = {p.batch: p for p in points}
    assert (by_batch[16].status, by_batch[32].status) == ("oom", "not_run")
    assert max(passing(points)) == 11
    assert by_batch[12].status == "oom"


def test_the_knee_is_where_the_throughput_stops_growing_whatever_the_budget() -> None:
    def levels_off(batch: int) -> float:
        return max(20.0, 2.5 * batch)

    told = throughputs([p for p in searched(levels_off, Budget(latency_ms=30))[0] if p.samples])
    assert told["knee_batch"] == 8
    assert told["best_throughput_batch"] in told["tied"]
    assert min(told["tied"]) == told["best_throughput_batch"] == 8


def test_where_batching_buys_nothing_all_are_tied_and_the_smallest_is_named() -> None:
    told = throughputs([p for p in searched(linear(5.0, 0.0))[0] if p.samples])
    assert told["best_throughput_batch"] == told["knee_batch"] == 1
    assert {1, 2, 4, 8} <= set(told["tied"])


def test_a_list_is_taken_as_it_is() -> None:
    machine = Machine(linear(13.0))
    swept(machine, [1, 8], is_search=False)
    assert machine.opened == [1, 8]


def test_per_item_no_batch_size_is_skipped() -> None:
    points, _ = searched(lambda batch: 60.0 + 5.0 * batch, Budget(latency_ms=20, per="item"))
    assert passing(points)[-3:] == [16, 32, 64]
    assert 1 not in passing(points)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 40.0), st.floats(0.0, 20.0), st.floats(20.0, 50.0))
def test_on_any_straight_line_every_listed_batch_is_told_right(per_item: float, fixed: float, limit_ms: float) -> None:
    curve = linear(per_item, fixed)
    points, _ = searched(curve, Budget(latency_ms=limit_ms))
    sure = [b for b in parse_batches("1..64") if 1.17 * (curve(b) or 0.0) < limit_ms]  # p95 below 0.9 of it
    possible = [b for b in range(1, 65) if 1.01 * (curve(b) or 0.0) < limit_ms]
    assert set(sure) <= set(passing(points)) <= set(possible)
