"""Models side by side: the ratio within the rounds decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploytk.artifact import Artifact
from deploytk.budget import Budget
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_OVER_BUDGET, EXIT_PASS
from deploytk.report import Report
from deploytk.stages import bench_point
from deploytk.stages.bench_compare import Contender, compare


class Process:
    """Stands in for `BatchProcess`: a latency by the model's name, on a machine that drifts for all alike."""

    now = 0.0
    latency: dict[str, float | None]
    rng: np.random.Generator

    def __init__(self, spec: dict[str, Any], logs: Path) -> None:
        self.name, self.log, self.command = spec["model"], logs / "log", "again"

    def ask(self, command: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:  # noqa: ARG002
        true = Process.latency[self.name]
        if true is None:
            return {"status": "crash", "reason": "The process crashed (SIGABRT) in 'open'."}
        if command["do"] != "block":
            return {"load_ms": 1.0, "first_ms": 1.0, "details": {}, "warmup_ms": [true]}
        Process.now = 0.95 * Process.now + 0.1 * Process.rng.standard_normal()
        noise = 0.01 * Process.rng.standard_normal(command["calls"])
        return {"samples_ms": (true * np.exp(Process.now + noise)).tolist(), "lead_ms": []}

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_point, "BatchProcess", Process)
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    Process.now, Process.rng = 0.0, np.random.default_rng(1)


def compared(tmp_path: Path, latency: dict[str, float | None]) -> Report:
    Process.latency = latency
    contenders = []
    for name in latency:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(name.encode())
        artifact = Artifact(path=path, format="onnx", precision="?", sha256=name * 64, made_by="given")
        contenders.append(Contender(artifact=artifact, spec={"model": name, "runtime": "simulated"}))
    budget = Budget(latency_ms=1000)
    return compare(contenders, budget=budget, batches=[1], tolerance=0.05, time_limit_s=600, out=tmp_path / "out")


def test_what_takes_a_third_longer_is_slower_and_exits_3(tmp_path: Path) -> None:
    report = compared(tmp_path, {"a": 30.0, "b": 40.0})
    (row,) = report.sections["ratio"]["rows"]
    assert row["verdict"] == "slower"
    assert row["low"] < 4 / 3 < row["high"]
    assert report.exit_code == EXIT_OVER_BUDGET
    assert report.verdict.reasons[0].startswith("b.onnx simulated against a.onnx simulated at batch 1: 1.3")


def test_the_same_model_twice_is_the_same_though_the_machine_drifts(tmp_path: Path) -> None:
    report = compared(tmp_path, {"a": 30.0, "b": 30.0})
    assert report.sections["ratio"]["rows"][0]["verdict"] in ("same", "undecided")
    assert report.exit_code in (EXIT_PASS, EXIT_INCONCLUSIVE)


def test_faster_passes_and_each_is_compared_with_the_first(tmp_path: Path) -> None:
    report = compared(tmp_path, {"a": 30.0, "b": 20.0, "c": 10.0})
    rows = report.sections["ratio"]["rows"]
    assert [(r["a"], r["b"], r["verdict"]) for r in rows] == [
        ("a.onnx simulated", "b.onnx simulated", "faster"),
        ("a.onnx simulated", "c.onnx simulated", "faster"),
    ]
    assert report.exit_code == EXIT_PASS
    assert {m.artifact_sha256[0] for m in report.measurements} == {"a", "b", "c"}


def test_one_that_crashes_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    report = compared(tmp_path, {"a": 30.0, "b": None})
    assert report.exit_code == EXIT_OVER_BUDGET
    assert "crash: The process crashed (SIGABRT)" in report.verdict.reasons[0]
    assert report.measurements[1].status == "crash"
