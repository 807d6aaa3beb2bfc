"""The models of the benchmarks, the shipped suite over them, and Ultralytics' profiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_onnx

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("ultralytics", reason="Ultralytics is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytestmark = pytest.mark.e2e

import models  # noqa: E402
import ultralytics_benchmark  # noqa: E402

from deploytk.files import sha256_of  # noqa: E402
from deploytk.runtimes.onnx import open_session  # noqa: E402
from deploytk.stages import bench_suite  # noqa: E402


def test_a_model_is_the_same_every_time_and_depends_on_its_input(tmp_path: Path) -> None:
    paths = [models.make("mobilenetv3-small", tmp_path / folder) for folder in ("a", "b")]
    assert sha256_of(paths[0]) == sha256_of(paths[1])
    session = open_session(paths[0], batch=3, threads=2)
    logits = session.run({"images": np.random.default_rng(0).random((3, 3, 224, 224), dtype=np.float32)})["logits"]
    assert logits.shape == (3, 1000) and np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-3 * np.abs(logits).max()


def test_a_model_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "resnet18.onnx"
    there.write_bytes(b"mine")
    assert models.make("resnet18", tmp_path) == there and there.read_bytes() == b"mine"


def test_a_detector_keeps_an_ordinary_size_of_activations(tmp_path: Path) -> None:
    models.detector(tmp_path / "yolo.onnx", 64)
    session = open_session(tmp_path / "yolo.onnx", batch=2, threads=2)
    images = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    output = session.run({"images": images})["output0"]
    assert output.shape == (2, 84, 84) and np.isfinite(output).all() and not np.array_equal(output[0], output[1])


def test_the_batch_norms_get_their_momentum_back() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, momentum=0.03))
    models.with_statistics(model, 8)
    assert model[1].momentum == 0.03 and not model.training and model[1].running_mean.abs().max() > 0


def test_the_suite_cpu_benches_every_model_on_both_runtimes() -> None:
    wanted = bench_suite.load("cpu")
    of_the_pipeline = {"yolov8n-relu-320"}  # timed by bench/peers/pipeline.py
    assert {entry.model.stem for entry in wanted.entries} == set(models.MODELS) - of_the_pipeline
    assert {entry.runtimes for entry in wanted.entries} == {("onnx", "openvino")}


def test_ultralytics_profiler_gives_its_report_and_the_samples_it_clipped(tmp_path: Path) -> None:
    told = ultralytics_benchmark.profiled(tiny_onnx.conv(tmp_path / "conv.onnx", size=32), 0.01, 32)
    assert len(told["samples_ms"]) >= 100
    clipped = ultralytics_benchmark.clip()(np.asarray(told["samples_ms"]))
    assert told["mean_ms"] == pytest.approx(clipped.mean()) and told["std_ms"] == pytest.approx(clipped.std())


def test_what_clipping_leaves_out_of_the_tail_is_told() -> None:
    samples = [10.0 + 0.01 * i for i in range(90)] + [50.0] * 10
    row = ultralytics_benchmark.row("x", 2, [samples], ultralytics_benchmark.clip(), "")
    assert row["clipped away, %"] == 10.0 and row["p95 ms"] == 50.0
    assert row["p95 after clipping ms"] == pytest.approx(10.85) and row["p95 too low by, %"] == 78.3
