"""A load from end to end: ONNX Runtime on a tiny model, and a runtime that misbehaves on demand.

Budgets are far above or far below anything a call can take: no verdict depends on how fast the machine is.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import tiny_onnx
from click.testing import CliRunner

from deploytk import scenarios as loops
from deploytk import soak
from deploytk.budget import Budget
from deploytk.cli import bench_load
from deploytk.errors import EXIT_OVER_BUDGET, InputError
from deploytk.report import Report, render
from deploytk.scenarios import Load
from deploytk.stages import load_verdict
from deploytk.stages.load import load

EASY = Budget(latency_ms=600_000)
HARD = Budget(latency_ms=1e-6)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the misbehaving runtime, installed for this process and its children as another package would."""
    package = tmp_path / "site" / "load_runtime-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: load-runtime\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[deploytk.runtimes]\nmisbehaving = load_runtime\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{Path(__file__).parents[1]}")
    return "misbehaving"


def model_that(tmp_path: Path, **deeds: float) -> Path:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    path.with_suffix(".deeds.json").write_text(json.dumps(deeds))
    return path


def run(path: Path, scenario: Any, budget: Budget = EASY, **changes: Any) -> Report:
    settings: dict[str, Any] = {"duration_s": 0.5, "threads": 1, "out": path.parent / "out"} | changes
    return load(path, scenario=scenario, budget=budget, **settings)


# -- the verdict


def queue(rho: float, count: int, seed: int, stall_ms: float = 0.0) -> Load:
    """An M/D/1 queue with a service of 10 ms (Lindley's recursion), the last call longer by `stall_ms`."""
    rng = np.random.default_rng(seed)
    arrived = np.cumsum(rng.exponential(10 / rho, count))
    service = np.full(count, 10.0)
    service[-1] += stall_ms
    slack = np.concatenate([[0.0], np.cumsum(10.0 - np.diff(arrived))])
    began = arrived + slack - np.minimum.accumulate(slack)
    as_ns = [np.round(1e6 * values).astype(np.int64) for values in (arrived, began, began + service)]
    return Load(
        arrived_ns=as_ns[0],
        began_ns=as_ns[1],
        ended_ns=as_ns[2],
        waited=np.zeros(count, bool),
        items=1,
        workers=1,
    )


@pytest.mark.parametrize("rho", [0.5, 0.8])
@pytest.mark.parametrize("percent", [95, 99])
def test_a_queue_over_the_budget_rarely_passes(rho: float, percent: float) -> None:
    true_ms = float(np.quantile(queue(rho, 500_000, seed=99).latency_ms, percent / 100))
    found = {0.9: 0, 1.0: 0}
    for place in found:
        budget = Budget(latency_ms=true_ms * place, percentile=percent)
        verdicts = [load_verdict.server_verdict(queue(rho, 6000, seed), budget)[0] for seed in range(60)]
        found[place] = sum(verdict.status == "pass" for verdict in verdicts)
    assert found[0.9] <= 2  # the true percentile is 10 % over
    assert found[1.0] <= 6


def test_a_queue_well_within_the_budget_passes_and_well_over_it_fails() -> None:
    found = queue(0.5, 6000, seed=1)  # its p95 is about 30 ms
    assert load_verdict.server_verdict(found, Budget(latency_ms=60))[0].status == "pass"
    assert load_verdict.server_verdict(found, Budget(latency_ms=15))[0].status == "fail"


def test_a_busy_queue_seen_for_too_short_is_inconclusive_and_says_for_how_long() -> None:
    verdict, _ = load_verdict.server_verdict(queue(0.95, 1800, seed=1), Budget(latency_ms=900))
    assert verdict.status == "inconclusive"
    assert "% busy" in verdict.reasons[-1]
    assert "--duration" in verdict.reasons[-1]


def test_requests_share_a_queue_the_longer_the_busier_the_model() -> None:
    lengths = [load_verdict.stretch(queue(rho, 20_000, seed=1)) for rho in (0.3, 0.8, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 5
    assert lengths[2] == pytest.approx(200, rel=0.3)


def test_overload_fails_with_what_the_model_can_serve() -> None:
    clock_at = [0]

    class Clock:
        def now(self) -> int:
            return clock_at[0]

        def wait_until(self, at: int) -> None:
            clock_at[0] = max(clock_at[0], at)

    def call(_turn: int) -> dict[str, np.ndarray]:
        clock_at[0] += 50_000_000
        return {"y": np.ones((1, 1))}

    found = loops.server([call], loops.poisson_arrivals(30, 60, 0), clock=Clock())
    verdict, _ = load_verdict.server_verdict(found, EASY)
    assert verdict.status == "fail"
    assert "the model serves at most 20 requests/s with 1 worker" in verdict.reasons[0]
    assert f"the queue grew to {found.longest_queue}" in verdict.reasons[0]


def test_a_tool_that_was_late_itself_is_told() -> None:
    latency = load_verdict.times("latency", np.full(100, 20.0))
    assert "up to 5 ms late" in load_verdict.late([latency, load_verdict.times("late by the tool", np.full(50, 5.0))])
    assert load_verdict.late([latency, load_verdict.times("late by the tool", np.full(50, 0.1))]) == ""
    assert load_verdict.late([latency, load_verdict.times("late by the tool", np.empty(0))]) == ""
    assert load_verdict.late([latency]) == ""


def windows(rss_mb: Any, p50_ms: Any = lambda _: 10.0, count: int = 60) -> np.ndarray:
    rows = [(n, 100, p50_ms(n), 12.0, 13.0, 14.0, rss_mb(n)) for n in range(count)]
    return np.array(rows, float).reshape(-1, len(soak.COLUMNS))


def test_a_leak_fails_a_soak_that_is_within_the_budget() -> None:
    verdict, _, told = load_verdict.soak_verdict(windows(lambda n: 100 + n), [10.0] * 1000, Budget(latency_ms=50), 1)
    assert verdict.status == "fail"
    assert "10 MB per 1000 calls" in verdict.reasons[0]
    assert told["memory"]["leaks"] is True
    assert (
        load_verdict.soak_verdict(windows(lambda _: 100), [10.0] * 1000, Budget(latency_ms=50), 1)[0].status == "pass"
    )


def test_a_drift_within_the_budget_is_told_and_does_not_fail() -> None:
    slower = windows(lambda _: 100, lambda n: 10 + n / 20)
    verdict, _, _ = load_verdict.soak_verdict(slower, [10.0] * 1000, Budget(latency_ms=50), 1)
    assert verdict.status == "pass"
    assert "gets slower" in verdict.reasons[-1]


# -- what is asked for


@pytest.mark.parametrize(
    ("scenario", "changes", "told"),
    [
        ("server", {}, "--qps"),
        ("offline", {"qps": 3.0}, "--qps"),
        ("server", {"qps": 30.0, "duration_s": 1e6}, "--duration"),
        ("server", {"qps": 30.0, "streams": 4}, "--streams"),
        ("multi-stream", {"streams": 8, "batch": 3}, "choose a divisor"),
        ("single-stream", {"workers": 2}, "--workers"),
        ("soak", {"workers": 2}, "--workers"),
        ("offlin", {}, "did you mean 'offline'"),
        ("offline", {"duration_s": 0.0}, "duration"),
        ("offline", {"budget": Budget(boundary="end_to_end")}, "boundary"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_with_what_to_change(
    tmp_path: Path, scenario: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run(tiny_onnx.conv(tmp_path / "m.onnx"), scenario, **changes)
    assert not (tmp_path / "out").exists()


# -- real runs


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("scenario", "changes", "words"),
    [
        ("single-stream", {}, "closed loop"),
        ("multi-stream", {"streams": 4}, "queries of 4 items"),
        ("multi-stream", {"streams": 4, "batch": 1, "workers": 2}, "calls of 1 on 2 workers"),
        ("offline", {"workers": 2, "batch": 2}, "2 workers with batches of 2"),
        ("server", {"qps": 200.0, "duration_s": 1.0}, "Poisson arrivals at 200 requests/s"),
        ("server", {"qps": 200.0, "duration_s": 1.0, "workers": 2}, "2 workers"),
    ],
)
def test_each_scenario_runs_a_real_model(tmp_path: Path, scenario: str, changes: dict[str, Any], words: str) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx", size=16), scenario, **changes)
    told, measurement = report.sections["load"], report.measurements[0]
    assert report.verdict.status == "pass"
    assert words in told["arrival"]
    assert told["requests"] == len(measurement.samples_ms) == sum(measurement.blocks) > 0
    assert told["achieved_per_s"] > 0
    assert sum(window["requests"] for window in told["windows"]) == told["requests"]
    assert measurement.batch == (4 if scenario == "multi-stream" else changes.get("batch", 1))
    assert render.write(report, tmp_path / "report")["html"].is_file()
    if scenario == "server":
        assert told["requests"] == 200
        times = {row["time"]: row for row in told["times"]}
        assert times["latency"]["p95_ms"] >= times["in the call"]["p95_ms"]
        assert times["latency"]["mean_ms"] == pytest.approx(
            times["in the queue"]["mean_ms"] + times["in the call"]["mean_ms"]
        )
        assert told["stability"]["waited"] >= 0
        assert 0 < told["utilization"] < 1


@pytest.mark.e2e
def test_a_server_over_the_budget_fails(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), "server", HARD, qps=300.0, duration_s=2.0)
    assert (report.verdict.status, report.exit_code) == ("fail", EXIT_OVER_BUDGET)


@pytest.mark.e2e
def test_a_soak_of_a_real_model_tells_memory_and_seconds(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), "soak", duration_s=3.0, listen=heard.append)
    told = report.sections["load"]
    assert report.verdict.status == "pass"
    assert len(told["windows"]) >= 3
    assert sum(window["calls"] for window in told["windows"]) == told["requests"]
    assert told["worst_second"]["p95_ms"] == max(window["p95_ms"] for window in told["windows"])
    assert told["memory"]["peak_mb"] > 1
    assert any("p95" in event.get("text", "") for event in heard)


@pytest.mark.e2e
def test_a_leaking_model_fails_its_soak(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, leak_mb=1, sleep_ms=50), "soak", duration_s=20.0, runtime=fake)
    assert report.verdict.status == "fail"
    assert "a leak" in report.verdict.reasons[0]
    assert report.sections["load"]["memory"]["mb_per_1000_calls"] == pytest.approx(1000, rel=0.1)


@pytest.mark.e2e
@pytest.mark.parametrize(("scenario", "changes"), [("server", {"qps": 200.0}), ("soak", {}), ("offline", {})])
def test_nan_after_50_calls_is_a_bad_output(tmp_path: Path, fake: str, scenario: str, changes: dict[str, Any]) -> None:
    path = model_that(tmp_path, nan_after=100, sleep_ms=1)
    report = run(path, scenario, runtime=fake, duration_s=1.0, **changes)
    assert report.measurements[0].status == "bad_output"
    assert report.verdict.status == "fail"
    assert "NaN" in report.verdict.reasons[0]


@pytest.mark.e2e
def test_a_model_that_aborts_under_load_is_a_crash_with_a_command_to_repeat_it(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, abort_after=100, sleep_ms=20), "soak", runtime=fake, duration_s=30.0)
    measurement = report.measurements[0]
    assert (measurement.status, report.verdict.status) == ("crash", "fail")
    assert "SIGABRT" in measurement.reason
    assert Path(measurement.log).is_file()
    assert report.sections["load"]["windows"]  # what was seen before it died
    again = subprocess.run(shlex.split(measurement.command), capture_output=True, check=False)
    assert again.returncode == -6


@pytest.mark.e2e
def test_too_little_memory_and_a_fixed_batch_are_results(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, memory_after=100, sleep_ms=1), "offline", runtime=fake)
    assert (report.measurements[0].status, report.verdict.status) == ("oom", "fail")
    fixed = run(model_that(tmp_path, largest=1), "multi-stream", runtime=fake)
    assert fixed.measurements[0].status == "fixed_batch"


@pytest.mark.e2e
def test_a_model_that_is_slow_every_100th_time_fails_at_p99_5_and_passes_at_p50(tmp_path: Path, fake: str) -> None:
    path = model_that(tmp_path, sleep_ms=0.1, slow_every=50, slow_ms=60)
    late = run(path, "single-stream", Budget(latency_ms=40, percentile=99.5), runtime=fake, duration_s=8.0)
    assert late.verdict.status == "fail"
    usual = run(path, "single-stream", Budget(latency_ms=40, percentile=50), runtime=fake, duration_s=8.0)
    assert usual.verdict.status == "pass"


# -- the command line


@pytest.mark.parametrize(("text", "duration_s"), [("10m", 600), ("30s", 30), ("1h", 3600), ("45", 45), ("0.5m", 30)])
def test_durations_are_written_with_their_unit(text: str, duration_s: float) -> None:
    assert parsed(["--soak", text])["soak"] == duration_s


@pytest.mark.parametrize("text", ["", "ten", "0s", "-5s", "10d", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 30s"):
        bench_load.seconds(None, None, text)  # type: ignore[arg-type]


def parsed(argv: list[str]) -> dict[str, Any]:
    """The values that the options of a load give."""
    found: dict[str, Any] = {}

    @click.command()
    def command(**values: Any) -> None:
        found.update(values)

    for option in bench_load.OPTIONS:
        command = option(command)
    result = CliRunner().invoke(command, argv, standalone_mode=False)
    assert result.exception is None, result.output
    return found


def test_a_load_is_wanted_as_soon_as_one_of_its_options_is_given() -> None:
    assert not bench_load.wanted(parsed([]))
    assert bench_load.wanted(parsed(["--soak", "10m"]))
    assert bench_load.wanted(parsed(["--qps", "30"]))


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--qps", "30"], "--qps: add --scenario"),
        (["--soak", "1m", "--scenario", "offline"], "leave --scenario"),
        (["--soak", "1m", "--duration", "2m"], "leave --scenario"),
    ],
)
def test_options_that_do_not_fit_are_refused(argv: list[str], told: str, tmp_path: Path) -> None:
    values = parsed(argv) | {"runtime": (), "threads": None}
    with pytest.raises(InputError, match=told):
        bench_load.run_load([tmp_path / "m.onnx"], tmp_path, values, EASY)
