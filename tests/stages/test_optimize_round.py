"""The final round: ratios within the rounds, a verdict for each, and one that dies is not the end of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import test_bench_compare
from test_bench_compare import Process

from deploytk.budget import Budget
from deploytk.errors import StepFailed
from deploytk.stages import bench_point
from deploytk.stages.optimize_candidates import Timing
from deploytk.stages.optimize_kept import Kept
from deploytk.stages.optimize_round import Runner, fastest_ms, final, look

simulated = test_bench_compare.simulated  # no process, a latency by the model's name, a machine that drifts


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, simulated: None) -> None:  # noqa: ARG001
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    assert bench_point.BatchProcess is Process


def run(tmp_path: Path, latency: dict[str, float | None], batches: dict[str, int] | None = None) -> dict[str, Timing]:
    Process.latency = latency
    runners = [
        Runner(name=name, spec={"model": name, "runtime": "simulated"}, batch=(batches or {}).get(name, 1))
        for name in latency
    ]
    found, _ = final(runners, Budget(latency_ms=80.0), 600.0, tmp_path / "logs")
    return dict(zip(latency, found, strict=True))


def test_each_is_told_beside_the_first_and_judged_by_the_budget(tmp_path: Path) -> None:
    found = run(tmp_path, {"default": 300.0, "int8": 20.0, "odd": 500.0})
    assert (found["int8"].word, found["odd"].word, found["default"].word) == ("faster", "slower", "")
    assert found["int8"].low is not None
    assert found["int8"].high is not None
    assert found["int8"].low < 1 / 15 < found["int8"].high
    assert [t.verdict.status for t in found.values() if t.verdict] == ["fail", "pass", "fail"]


def test_what_cannot_be_told_from_the_fastest_is_tied(tmp_path: Path) -> None:
    found = run(tmp_path, {"default": 60.0, "a": 20.0, "b": 20.1, "c": 25.0})
    assert [name for name, timing in found.items() if timing.tied] == ["a", "b"]


def test_batches_are_compared_by_the_time_per_item(tmp_path: Path) -> None:
    found = run(tmp_path, {"default": 10.0, "four": 20.0}, {"four": 4})
    assert found["four"].ratio == pytest.approx(0.5, rel=0.05)


def test_one_that_crashes_fails_and_the_others_are_told(tmp_path: Path) -> None:
    found = run(tmp_path, {"default": 20.0, "broken": None, "int8": 10.0})
    assert found["broken"].verdict
    assert (found["broken"].verdict.status, found["broken"].ratio) == ("fail", None)
    assert found["int8"].word == "faster"


def test_a_machine_too_busy_for_one_quiet_block_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = iter([90.0, 5.0, 90.0, 90.0, *[90.0] * 4])

    def busy(_: Process, command: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:  # noqa: ARG001
        if command["do"] != "block":
            return {"warmup_ms": []}
        return {"samples_ms": [30.0], "lead_ms": [], "wall_ms": 100.0, "waited_ms": next(waited)}

    monkeypatch.setattr(Process, "ask", busy)
    runner = Runner(name="model", spec={"model": "model", "runtime": "x"}, batch=1)
    assert fastest_ms(runner, Budget(), tmp_path) == 30.0
    assert fastest_ms(runner, Budget(), tmp_path) is None


def test_without_the_default_there_is_no_round(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="default: crash"):
        run(tmp_path, {"default": None, "int8": 10.0})


def test_a_look_at_what_cannot_run_says_why(tmp_path: Path) -> None:
    Process.latency = {"broken": None}
    with pytest.raises(StepFailed, match="SIGABRT"):
        look(Runner(name="broken", spec={"model": "broken", "runtime": "x"}, batch=1), Budget(), tmp_path)


def test_what_is_left_out_is_left_out_for_its_fastest_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: Process, command: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:  # noqa: ARG001
        return {"samples_ms": [500.0, 20.0, 300.0], "lead_ms": []} if command["do"] == "block" else {"warmup_ms": []}

    monkeypatch.setattr(Process, "ask", busy)
    runner = Runner(name="model", spec={"model": "model", "runtime": "x"}, batch=1)
    assert fastest_ms(runner, Budget(), tmp_path) == 20.0
    assert look(runner, Budget(), tmp_path).p50_ms == 300.0


def test_a_result_is_built_once_and_again_only_when_its_settings_or_its_file_changed(tmp_path: Path) -> None:
    built: list[Any] = []

    def build() -> dict[str, Any]:
        built.append(1)
        return {"ms": float("inf"), "n": len(built)}

    def kept(settings: Any, **more: Any) -> Any:
        return Kept(tmp_path).get("time onnx fp32 320 px, 2 threads", settings, build, **more)["n"]

    assert [kept({"a": 1}), kept({"a": 1}), kept({"a": 2})] == [1, 1, 2]
    assert kept({"a": 2}, is_valid=lambda _: False) == 3
    (tmp_path / "time-onnx-fp32-320-px-2-threads.json").write_text("cut sho")
    assert kept({"a": 2}) == 4
