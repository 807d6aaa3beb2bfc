"""The runtimes of an NVIDIA GPU: the sentence where there is none, and ONNX Runtime where it falls back to the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import tiny_onnx
import torch

from deploytk import plugins
from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import gpu, onnx, onnx_cuda, onnx_placement, onnx_tensorrt, tensorrt, tensorrt_plan

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
PLAN = b"ftrt" + bytes(60)
ON_A_GPU = ["onnx-cuda", "onnx-tensorrt", "tensorrt", "torch-cuda", "torch-compile-cuda"]


@NO_GPU
@pytest.mark.parametrize("name", ON_A_GPU)
def test_without_a_gpu_it_is_one_sentence_and_exit_6(name: str) -> None:
    with pytest.raises(MissingDependency, match=rf"the runtime {name} needs an NVIDIA GPU, and") as caught:
        gpu.require_gpu(name)
    assert (caught.value.exit_code, "\n" in caught.value.message) == (6, False)


@NO_GPU
def test_the_gpu_is_asked_for_before_tensorrt_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_plan, "libraries", lambda: pytest.fail("TensorRT would crash here"))
    (tmp_path / "m.engine").write_bytes(PLAN)
    with pytest.raises(MissingDependency, match="the runtime tensorrt needs an NVIDIA GPU"):
        tensorrt.open_session(tmp_path / "m.engine", batch=1, threads=None)


@NO_GPU
@pytest.mark.parametrize("name", ON_A_GPU)
def test_each_says_that_it_needs_a_gpu_and_asks_before_it_opens_a_file(name: str, tmp_path: Path) -> None:
    runtime = plugins.load("runtimes", name)
    assert runtime.NEEDS_GPU
    with pytest.raises(MissingDependency, match=f"the runtime {name} needs an NVIDIA GPU"):
        runtime.open_session(tmp_path / "there-is-none", batch=1, threads=None)


def test_an_onnx_runtime_without_cuda_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_cuda, "require_gpu", lambda _name: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingDependency, match=r"has no CUDA provider.*pip install onnxruntime-gpu"):
        onnx_cuda.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)


def test_falling_back_to_the_cpu_is_no_measurement_of_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes the CUDA provider where it has none, and says so in its log only."""
    monkeypatch.setattr(onnx_cuda, "require_gpu", lambda _name: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_cuda.PROVIDER])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **_how: None)
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _self: [onnx.PROVIDER])
    real = onnxruntime.InferenceSession

    def on_the_cpu(*args: Any, **options: Any) -> Any:
        return real(*args, **options | {"providers": [onnx.PROVIDER]})

    monkeypatch.setattr(onnx.ort, "InferenceSession", on_the_cpu)
    with pytest.raises(InputError, match="uses CPUExecutionProvider, not CUDAExecutionProvider"):
        onnx_cuda.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)


@pytest.mark.parametrize("graph", [tiny_onnx.conv, tiny_onnx.mixing])
def test_where_each_node_runs_is_read_back_from_onnx_runtime(graph: Any, tmp_path: Path) -> None:
    """On the CPU, as there is no GPU here: what ONNX Runtime tells has this form, and counts as fallen back."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(onnx_placement.RECORD, "1")
    session = onnxruntime.InferenceSession(str(graph(tmp_path / "m.onnx")), options, providers=[onnx.PROVIDER])
    op = "Conv" if graph is tiny_onnx.conv else "Softmax"
    with pytest.raises(InputError, match=rf"parts of it run on the CPU.*: {op} \(1\).*--runtime onnx, or"):
        onnx_placement.placed(session, tmp_path / "m.onnx")


def test_sizes_may_be_computed_on_the_cpu_and_other_operators_not() -> None:
    sizes = [(onnx.PROVIDER, "Shape"), (onnx.PROVIDER, "Gather"), (onnx_cuda.PROVIDER, "Conv")]
    onnx_placement.require_none_fell_back(Path("m.onnx"), sizes)
    fallen = [*sizes, *[(onnx.PROVIDER, "ConvInteger")] * 2, (onnx.PROVIDER, "NonMaxSuppression")]
    with pytest.raises(InputError, match=r"on the GPU: ConvInteger \(2\), NonMaxSuppression \(1\); bench"):
        onnx_placement.require_none_fell_back(Path("m.onnx"), fallen)


def test_an_onnx_runtime_that_does_not_tell_is_unknown() -> None:
    assert "does not tell" in onnx_placement.placed(object(), Path("m.onnx"))["nodes"]


def test_tensorrt_in_onnx_runtime_is_built_for_the_batch_that_is_measured(tmp_path: Path) -> None:
    free = tiny_onnx.conv(tmp_path / "m.onnx")
    assert set(onnx_tensorrt.shapes(free, 8).values()) == {"x:8x3x8x8"}
    assert list(onnx_tensorrt.shapes(free, 8)) == [f"trt_profile_{which}_shapes" for which in ("min", "opt", "max")]
    assert onnx_tensorrt.shapes(free, None) == onnx_tensorrt.shapes(tiny_onnx.conv(tmp_path / "f.onnx", 2), 2) == {}
    assert onnx_tensorrt.shapes(tiny_onnx.conv(tmp_path / "s.onnx", size="side"), 8) == {}


def test_a_model_of_which_tensorrt_takes_nothing_is_refused() -> None:
    onnx_tensorrt.require_some(Path("m.onnx"), {onnx_tensorrt.PROVIDER: 1, onnx_cuda.PROVIDER: 7})
    with pytest.raises(InputError, match="TensorRT takes nothing of it; bench it with --runtime onnx-cuda"):
        onnx_tensorrt.require_some(Path("m.onnx"), {onnx_cuda.PROVIDER: 8})


def test_tensorrt_in_onnx_runtime_needs_libnvinfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_tensorrt, "require_gpu", lambda _name: None)
    monkeypatch.setattr(onnx_tensorrt, "_LIBRARIES", ("libnvinfer_of_nobody.so",))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_tensorrt.PROVIDER])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **_how: None)
    with pytest.raises(MissingDependency, match=r"needs TensorRT \(libnvinfer; .*pip install tensorrt$"):
        onnx_tensorrt.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)
