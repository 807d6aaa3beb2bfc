"""The loops of a load and of a soak, with services whose time a simulated clock sees and nobody waits for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from deploytk import scenarios, soak
from deploytk.pacing import MachineClock, WrongOutput
from deploytk.scenarios import Load
from deploytk.timing import Outputs, Run

MS = 1_000_000


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """What pytest has loaded need not be looked through at the end of each window (a tenth of a second)."""
    gc.freeze()
    yield
    gc.unfreeze()


class FakeClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.at = 0

    def now(self) -> int:
        return self.at

    def wait_until(self, at: int) -> None:
        self.at = max(self.at, at)


def service(clock: FakeClock, takes_ms: Callable[[int], float], answer: Callable[[int], float] = lambda _: 1.0) -> Run:
    """A model whose call number n takes `takes_ms(n)` of simulated time and answers `answer(n)`."""
    calls = iter(range(10**9))

    def run(_turn: int) -> Outputs:
        number = next(calls)
        clock.at += round(takes_ms(number) * MS)
        return {"y": np.full((1, 1), answer(number))}

    return run


def served(qps: float, duration_s: float, takes_ms: Callable[[int], float], seed: int = 0) -> Load:
    clock = FakeClock()
    return scenarios.server([service(clock, takes_ms)], scenarios.poisson_arrivals(qps, duration_s, seed), clock=clock)


# -- arrivals


def test_poisson_arrivals_have_exponential_gaps_and_the_same_seed_the_same_ones() -> None:
    arrivals = scenarios.poisson_arrivals(100, 300, seed=7)
    gaps_s = np.diff(arrivals) / 1e9
    assert arrivals.size == 30_000
    assert gaps_s.mean() == pytest.approx(0.01, rel=0.02)
    assert gaps_s.std() == pytest.approx(0.01, rel=0.03)
    assert abs(np.corrcoef(gaps_s[1:], gaps_s[:-1])[0, 1]) < 0.02
    counts = np.bincount((arrivals // 1_000_000_000).astype(int))[:-1]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.2)  # of a Poisson process
    assert (arrivals == scenarios.poisson_arrivals(100, 300, seed=7)).all()
    assert (arrivals != scenarios.poisson_arrivals(100, 300, seed=8)).any()


# -- server


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_an_m_d_1_queue(rho: float) -> None:
    found = served(qps=100, duration_s=2000, takes_ms=lambda _: 10 * rho)
    theory_ms = 10 * rho * rho / (2 * (1 - rho))  # Pollaczek and Khinchine, deterministic service
    assert found.queue_ms.mean() == pytest.approx(theory_ms, rel=0.06)
    assert found.service_ms == pytest.approx(10 * rho)
    assert not found.overloaded


def test_a_stall_of_a_second_is_seen_by_everybody_who_came_meanwhile() -> None:
    found = served(qps=100, duration_s=30, takes_ms=lambda n: 1000 if n == 1500 else 2)
    assert np.quantile(found.latency_ms, 0.99) > 600
    assert found.latency_ms.max() >= 1000
    assert 80 < (found.latency_ms > 100).sum() < 130  # about 100 requests came during the stall
    assert (found.service_ms > 100).sum() == 1  # what a tool sees that counts from when it took a request
    assert found.longest_queue > 80
    assert not found.overloaded


def test_the_latency_is_the_wait_and_the_service_together() -> None:
    found = served(qps=50, duration_s=20, takes_ms=lambda n: 5 + n % 20)
    assert found.latency_ms == pytest.approx(found.queue_ms + found.service_ms)
    assert (found.queue_ms >= 0).all()
    assert (found.late_ms == 0).all()  # this clock is never late


def test_a_queue_that_grows_without_bound_ends_the_run_and_tells_the_capacity() -> None:
    found = served(qps=30, duration_s=60, takes_ms=lambda _: 50)
    assert found.overloaded
    assert found.capacity_per_s == pytest.approx(20)
    assert found.longest_queue > 500
    assert found.served + found.unserved <= 1800
    assert found.elapsed_s < found.arrived_ns[-1] / 1e9 + 0.1  # nobody is served after the last arrival


def test_far_too_much_is_not_waited_for_to_the_end() -> None:
    found = served(qps=1000, duration_s=60, takes_ms=lambda _: 50)
    assert found.overloaded
    assert found.elapsed_s < 5


@pytest.mark.parametrize("stall_at", [0, 1700])
def test_a_stall_is_no_overload(stall_at: int) -> None:
    found = served(qps=30, duration_s=60, takes_ms=lambda n: 8000 if n == stall_at else 10)
    assert not found.overloaded
    assert found.served == 1800
    assert found.latency_ms.max() > 7900


def test_a_model_that_is_just_fast_enough_is_not_called_overloaded() -> None:
    runs = [served(qps=100, duration_s=60, takes_ms=lambda _: 9.7, seed=seed) for seed in range(20)]
    assert not any(found.overloaded for found in runs)


def test_two_workers_serve_each_request_once_and_one_of_them_cannot_be_two() -> None:
    seen: list[list[int]] = [[], []]
    running = [0, 0]

    def worker(number: int) -> Run:
        def run(turn: int) -> Outputs:
            running[number] += 1
            assert running[number] == 1
            time.sleep(0.001)
            seen[number].append(turn)
            running[number] -= 1
            return {"y": np.ones((1, 1))}

        return run

    found = scenarios.server([worker(0), worker(1)], scenarios.poisson_arrivals(2000, 0.1, 0))
    assert sorted(seen[0] + seen[1]) == list(range(found.served))
    assert seen[0]
    assert seen[1]
    assert (found.began_ns >= found.arrived_ns[: found.served]).all()


def test_an_exception_in_a_worker_comes_out() -> None:
    def run(_turn: int) -> Outputs:
        raise ValueError("no kernel")

    with pytest.raises(ValueError, match="no kernel"):
        scenarios.server([run, run], scenarios.poisson_arrivals(1000, 0.01, 0))


def test_a_server_tells_nan_after_50_calls() -> None:
    clock = FakeClock()
    run = service(clock, lambda _: 1, lambda n: np.nan if n >= 50 else 1.0)
    with pytest.raises(WrongOutput, match="NaN"):
        scenarios.server([run], scenarios.poisson_arrivals(100, 10, 0), clock=clock)


def test_a_server_without_a_pause_still_looks_at_its_last_output() -> None:
    clock = FakeClock()
    run = service(clock, lambda _: 1000, lambda n: np.nan if n >= 5 else 1.0)
    with pytest.raises(WrongOutput, match="NaN"):
        scenarios.server([run], scenarios.poisson_arrivals(1000, 0.01, 0), clock=clock)


def test_the_machines_clock_waits_and_does_not_come_back_early() -> None:
    clock = MachineClock()
    at = clock.now() + 3 * MS
    clock.wait_until(at)
    assert clock.now() >= at


# -- closed loops


def test_single_stream_sends_the_next_request_when_the_last_has_ended() -> None:
    clock = FakeClock()
    found = scenarios.single_stream(service(clock, lambda n: 10 + n % 3), duration_s=1.1, clock=clock)
    assert found.latency_ms[:3] == pytest.approx([10, 11, 12])
    assert found.began_ns[1:] == pytest.approx(found.ended_ns[:-1])
    assert found.elapsed_s == pytest.approx(1.1, abs=0.012)
    assert found.longest_queue == 0


def test_a_multi_stream_query_lasts_until_its_last_part_has_ended() -> None:
    clock = FakeClock()
    found = scenarios.multi_stream([service(clock, lambda _: 5)], duration_s=1, streams=8, batch=1, clock=clock)
    assert found.latency_ms == pytest.approx(40)
    assert (found.served, found.items) == (25, 8)
    with pytest.raises(ValueError, match="multiple"):
        scenarios.multi_stream([service(clock, lambda _: 5)], duration_s=1, streams=8, batch=3, clock=clock)


def test_the_parts_of_a_multi_stream_query_are_dealt_to_the_workers() -> None:
    seen: list[list[int]] = [[], [], []]

    def worker(number: int) -> Run:
        def run(turn: int) -> Outputs:
            seen[number].append(turn)
            return {"y": np.ones((2, 1))}

        return run

    found = scenarios.multi_stream([worker(n) for n in range(3)], duration_s=1e-9, streams=8, batch=2)
    assert found.served == 1
    assert seen == [[0, 3], [1], [2]]


def test_offline_workers_take_batches_until_time_is_over() -> None:
    clock = FakeClock()

    def run(_turn: int) -> Outputs:
        clock.at += 20 * MS
        return {"y": np.ones((4, 1))}

    found = scenarios.offline([run], duration_s=2, batch=4, clock=clock)
    assert found.served == 100
    assert found.achieved_per_s * found.items == pytest.approx(200)
    assert found.capacity_per_s == pytest.approx(50)


@pytest.mark.parametrize("scenario", ["single", "multi", "offline"])
def test_closed_loops_tell_nan_after_50_calls(scenario: str) -> None:
    clock = FakeClock()
    run = service(clock, lambda _: 1, lambda n: np.nan if n >= 50 else 1.0)
    with pytest.raises(WrongOutput, match="NaN"):
        if scenario == "single":
            scenarios.single_stream(run, duration_s=1, clock=clock)
        elif scenario == "multi":
            scenarios.multi_stream([run], duration_s=1, streams=4, batch=1, clock=clock)
        else:
            scenarios.offline([run], duration_s=1, batch=1, clock=clock)


# -- soak


def soaked(takes_ms: Callable[[int], float], rss_mb: Callable[[int], float], duration_s: float = 60) -> soak.Soak:
    clock, calls = FakeClock(), [0]
    answer = service(clock, takes_ms)

    def run(turn: int) -> Outputs:
        calls[0] += 1
        return answer(turn)

    return soak.soak(run, duration_s=duration_s, clock=clock, rss_mb=lambda: rss_mb(calls[0]))


def test_a_soak_tells_the_worst_second_and_every_window() -> None:
    told: list[dict[str, float]] = []
    clock = FakeClock()
    run = service(clock, lambda n: 100 if 2000 <= n < 2005 else 10)
    found = soak.soak(run, duration_s=60, clock=clock, rss_mb=lambda: 100.0, tell=told.append)
    assert len(found.windows) == len(told) == 60
    worst = max(told, key=lambda window: window["p95_ms"])
    assert worst["at_s"] == pytest.approx(20, abs=1)
    assert worst["worst_ms"] == pytest.approx(100)
    assert sum(window["calls"] for window in told) == found.samples_ms.size
    assert found.kept == 1.0


def test_a_model_that_leaks_is_told_with_its_rate() -> None:
    growth = soak.memory_growth(soaked(lambda _: 10, lambda calls: 100 + calls).windows)
    assert growth.leaks is True
    assert growth.mb_per_1000_calls == pytest.approx(1000, rel=0.01)


def test_a_slow_leak_in_steps_and_noise_is_told_too() -> None:
    rng = np.random.default_rng(1)
    found = soaked(lambda _: 50, lambda n: 500 + 2 * (n * 0.02 // 2) + rng.normal(0, 0.5), duration_s=300)
    growth = soak.memory_growth(found.windows)
    assert growth.leaks is True
    assert growth.mb_per_1000_calls == pytest.approx(20, rel=0.2)


def test_the_memory_of_this_very_process_is_what_a_soak_sees() -> None:
    """Told in numbers, not as a verdict: what else this process holds and lets go meanwhile is not the test's."""
    held: list[bytearray] = []

    def run(_turn: int) -> Outputs:
        if leaking:
            held.append(bytearray(b"x" * 1_000_000))
        else:
            time.sleep(0.001)
        return {"y": np.ones((1, 1))}

    leaking = True
    memory = soak.soak(run, duration_s=0.3, window_s=0.01).windows[:, soak.COLUMNS.index("rss_mb")]
    assert memory[-1] - memory[0] > 0.5 * (len(held) - 1)
    leaking = False
    memory = soak.soak(run, duration_s=0.3, window_s=0.01).windows[:, soak.COLUMNS.index("rss_mb")]
    assert abs(memory[-1] - memory[0]) < 0.1 * len(held)


@pytest.mark.parametrize(
    "rss_mb",
    [
        lambda _: 100.0,
        lambda calls: 100 + min(calls, 1000) * 0.2,  # a pool that fills up in the first ten of 60 seconds
        lambda calls: 100 + 50 * np.sin(calls / 300),  # freed and taken again
        lambda calls: 100 + 30 * (calls > 4000),  # one buffer more
        lambda calls: 100 + calls * 1e-4,  # half a megabyte in an hour at this pace
    ],
)
def test_memory_that_stops_growing_is_no_leak(rss_mb: Callable[[int], float]) -> None:
    assert soak.memory_growth(soaked(lambda _: 10, rss_mb).windows).leaks is False


def test_memory_noise_is_rarely_called_a_leak() -> None:
    rng = np.random.default_rng(3)
    windows = np.ones((600, len(soak.COLUMNS)))
    called = 0
    for _ in range(100):
        windows[:, 6] = 1000 + np.cumsum(rng.normal(0, 0.5, 600))  # a random walk: the worst of honest memories
        called += bool(soak.memory_growth(windows).leaks)
    assert called <= 5


def test_a_model_that_slows_down_drifts_and_a_steady_one_does_not() -> None:
    rng = np.random.default_rng(2)
    slower = soak.drift(soaked(lambda n: 10 + n / 1000 + rng.exponential(1), lambda _: 100).windows)
    assert slower.drifts is True
    assert slower.change == pytest.approx(0.35, abs=0.15)
    steady = soak.drift(soaked(lambda _: 10 + rng.exponential(1), lambda _: 100).windows)
    assert steady.drifts is False


def test_too_few_windows_say_nothing_about_leaks_or_drift() -> None:
    found = soaked(lambda _: 10, lambda calls: 100 + calls, duration_s=5)
    assert soak.memory_growth(found.windows).leaks is None
    assert soak.drift(found.windows).drifts is None


def test_a_long_soak_keeps_a_bounded_and_fair_choice_of_its_samples() -> None:
    found = soaked(lambda n: 0.2 if n % 100 else 5.0, lambda _: 100, duration_s=120)
    assert found.windows[:, 1].sum() > 4 * found.samples_ms.size
    assert 50_000 <= found.samples_ms.size <= 100_000
    assert found.kept == pytest.approx(found.samples_ms.size / found.windows[:, 1].sum())
    assert (found.samples_ms > 1).mean() == pytest.approx(0.01, rel=0.1)  # every 100th call, as among all


def test_a_window_full_of_fast_calls_ends_early_and_nothing_is_lost() -> None:
    found = soaked(lambda _: 0.005, lambda _: 100, duration_s=3)
    assert 600_000 <= found.windows[:, 1].sum() <= 600_000 + 65_536
    assert len(found.windows) > 3


def test_a_soak_tells_nan_after_50_calls() -> None:
    clock = FakeClock()
    run = service(clock, lambda _: 10, lambda n: np.nan if n >= 50 else 1.0)
    with pytest.raises(WrongOutput, match="NaN"):
        soak.soak(run, duration_s=10, clock=clock, rss_mb=lambda: 1.0)


def test_this_process_has_memory() -> None:
    assert soak.resident_mb() > 1
