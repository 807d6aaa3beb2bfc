"""The comparison on a GPU: the arithmetic of the roofline, the rows, and that nothing is written without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")
pytest.importorskip("ultralytics", reason="Ultralytics is not installed")

import gpu  # noqa: E402
import gpu_models  # noqa: E402
import tiny_onnx  # noqa: E402
from roofline import Model, Roof, Work  # noqa: E402

from deploytk.errors import InputError  # noqa: E402
from deploytk.runtimes.tensorrt_lineage import Here, built, require_runs_here  # noqa: E402

SCRIPT = Path(gpu.__file__)
#: 1 TFLOP/s and 1 GB/s: 1000 FLOPs for each byte.
ROOF = Roof(flops_per_s=1e12, bytes_per_s=1e9)


def test_the_flops_of_a_convolution_are_two_for_each_multiply_add() -> None:
    conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
    taken = gpu_models.taken(conv, 16)
    assert taken == Model(flops_per_item=2 * 8 * 16 * 16 * 3 * 3 * 3, weights=8 * 3 * 9, ends_per_item=(3 + 8) * 256)


def test_weights_are_read_once_and_the_ends_once_for_each_item() -> None:
    model = Model(flops_per_item=1e9, weights=1_000_000, ends_per_item=1000)
    assert model.work(8, 2) == Work(flops=8e9, bytes=2 * (1_000_000 + 8 * 1000))


def test_the_floor_is_the_longer_of_flops_and_bytes() -> None:
    many_flops, many_bytes = Work(flops=5e9, bytes=1e6), Work(flops=1e9, bytes=4e6)
    assert (many_flops.floor_ms(ROOF), many_flops.bound(ROOF)) == (5.0, "FLOPs")
    assert (many_bytes.floor_ms(ROOF), many_bytes.bound(ROOF)) == (4.0, "bytes")
    assert many_flops.ratio(20.0, ROOF) == 4.0 and many_flops.ratio(None, ROOF) is None


def test_a_row_holds_wall_and_device_beside_the_roofline() -> None:
    model = Model(flops_per_item=1e9, weights=1000, ends_per_item=10)
    block = {"samples_ms": [10.0] * 18 + [60.0] * 2, "parts_ms": {"device": [4.0] * 20}}
    told = gpu.row(2, block, model, "fp16", ROOF)
    assert (told["p50 ms"], told["p95 ms"], told["p95 within 50 ms"], told["items/s"]) == (10.0, 60.0, "no", 200)
    assert (told["roofline ms"], told["wall / roofline"], told["device / roofline"]) == (2.0, 5.0, 2.0)
    without = gpu.row(2, {**block, "parts_ms": {}}, model, "fp16", ROOF)
    assert (without["device ms"], without["device / roofline"]) == (None, None)


def found(route: str, batch: int, p50: float, p95: float) -> dict[str, Any]:
    about = {"model": "m", "precision": "fp16", "route": route, "batch": batch}
    return about | {"p50 ms": p50, "p95 ms": p95, "items/s": round(1000 * batch / p50)}


def test_the_sentence_names_the_fastest_the_best_within_the_budget_and_what_was_not_run() -> None:
    rows = [found("A", 1, 2.0, 3.0), found("B", 1, 1.0, 1.5), found("A", 64, 40.0, 45.0), found("B", 64, 30.0, 55.0)]
    told = gpu.sentence(rows, {"m fp32, C": "no C here"})
    assert "at batch 1 B is fastest (1 ms)" in told
    assert "within 50 ms is 1600 items/s (A, batch 64)" in told
    assert told.endswith("Not run: m fp32, C: no C here.")
    assert gpu.sentence([found("A", 1, 80.0, 90.0)], {}) == "m fp16: nothing within 50 ms."


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_exits_6_and_writes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "out"), "--folder", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("not run: the runtime torch-cuda needs an NVIDIA GPU, and there is no")
    assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_files_of_a_route_run_at_any_batch_and_in_their_precision(tmp_path: Path, precision: str) -> None:
    """On the CPU here: what the files are does not depend on where they run."""
    from deploytk import plugins

    for kind, runtime in (("program", "torch"), ("onnx", "onnx")):
        path = gpu._file(kind, "resnet18", precision, tmp_path)
        session = plugins.load("runtimes", runtime).open_session(path, batch=3, threads=1)
        dtype = {"fp32": "float32", "fp16": "float16"}[precision]
        assert session.inputs[0].dtype == dtype and session.inputs[0].shape == (3, 3, 224, 224)


@pytest.mark.e2e
def test_a_detector_is_a_program_with_a_free_batch(tmp_path: Path) -> None:
    from deploytk.runtimes import torch as runtime

    path = gpu_models.program("yolov8n-640", "fp32", tmp_path / "m.pt2", side=64)
    session = runtime.open_session(path, batch=5, threads=1)
    assert session.outputs[0].shape == (5, 84, 84)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU: it builds for that one")
def test_an_engine_is_built_with_a_lineage_that_the_runtime_reads_before_it_loads_it(tmp_path: Path) -> None:
    """By TensorRT-RTX, which builds without a GPU; what the target writes is what the runtime reads."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    path = gpu_models.engine(tiny_onnx.conv(tmp_path / "m.onnx"), "fp32", tmp_path / "m.engine")
    told = built(path)
    assert told and (told.library, told.version) == ("tensorrt_rtx", rtx.__version__)
    assert told.computes_in.startswith("float32") and not told.host_code and len(told.onnx_sha256 or "") == 64
    here = Here(library="tensorrt", version="10.16.1.11", compute_capability="9.0")
    with pytest.raises(InputError, match=r"built by TensorRT-RTX .*; this machine has TensorRT 10\.16\.1"):
        require_runs_here(path, told, here)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_it_keeps_a_table_of_one_model(tmp_path: Path) -> None:
    more = ["--models", "resnet18", "--batches", "1", "4", "--seconds", "0.3", "--folder", str(tmp_path / "models")]
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path), *more], check=True)
    assert "PyTorch, CUDA graph" in (tmp_path / "gpu.md").read_text()
