"""A run's engines for TensorRT, really built without a GPU: proved on the CPU, and said to be unrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploytk.runtimes import gpu

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not gpu.lacking(), reason="this machine has a GPU: what is told without one is not told here"),
]

SMALL = ("--epochs", "1", "--imgsz", "64", "--batch", "8")


def deploytk(*args: str | Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "deploytk.cli.main", *map(str, args), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["exit_code"] == done.returncode
    return told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tensorrt")
    deploytk("demo-data", folder / "data", "--train", "16", "--val", "8", "--imgsz", "96")
    data = folder / "data" / "data.yaml"
    told = deploytk("run", "quickstart", "--data", data, *SMALL, "--target", "tensorrt", "--out", folder / "run")
    return folder / "run", told


def test_the_whole_job_ends_with_a_built_engine_that_nobody_ran(run: tuple[Path, dict[str, Any]]) -> None:
    folder, told = run
    assert (told["exit_code"], told["verdict"]) == (6, "inconclusive")
    (said,) = (reason for reason in told["reasons"] if reason.startswith("model_fp16.engine: built with TensorRT-RTX"))
    assert "for batches 1 and 2..64, best at 8: float16; not executed: there is no NVIDIA driver" in said
    assert [a["format"] for a in told["chain"]] == ["pt", "onnx", "onnx", "tensorrt-engine"]
    assert not told["measurements"]
    assert (folder / "export" / "tensorrt" / "model_fp16.engine").is_file()


def test_what_needs_no_gpu_is_proved(run: tuple[Path, dict[str, Any]]) -> None:
    stages = {s["where"]: s["ok"] for s in run[1]["sections"]["contract"]["stages"]}
    assert stages == {"onnx": True, "onnx fp16": True}
    rows = {(r["what"], r["metric"]): r for r in run[1]["sections"]["parity"]}
    assert rows["model_fp16.onnx", "SQNR of boxes, dB"]["converted"] > 40


def test_int8_comes_through_the_ladder_and_is_in_the_engine(run: tuple[Path, dict[str, Any]]) -> None:
    told = deploytk("export", run[0], "--target", "tensorrt", "--precision", "int8", "--batches", "1..16")
    engine = told["sections"]["engine"]
    assert (told["exit_code"], engine["precision"]) == (6, "int8")
    assert engine["profiles"] == [[1, 1, 1], [2, 4, 16]]
    onnx = {a["sha256"]: a["precision"] for a in told["chain"] if a["format"] == "onnx"}
    assert onnx[engine["onnx_sha256"]] == "int8"
    assert told["sections"]["ladder"]["attempts"][-1]["outcome"] == "met"


def test_again_it_makes_nothing_anew(run: tuple[Path, dict[str, Any]]) -> None:
    told = deploytk("export", run[0], "--target", "tensorrt")
    assert all(told["sections"]["skipped"].values())
    assert set(told["sections"]["skipped"]) == {"model.onnx", "model_fp16.onnx", "model_fp16.engine"}


def test_an_onnx_that_is_benched_in_tensorrt_is_built_and_the_missing_gpu_told(
    run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model = run[0] / "export" / "onnx" / "model.onnx"
    told = deploytk("bench", model, "--runtime", "tensorrt", "--batches", "1..8", "--out", tmp_path / "bench")
    assert told["exit_code"] == 6
    assert "built with TensorRT-RTX" in told["reasons"][0]
    assert "not executed: the runtime tensorrt needs an NVIDIA GPU" in told["reasons"][0]
    assert not (tmp_path / "bench").exists()
