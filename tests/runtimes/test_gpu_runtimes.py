"""The runtimes of an NVIDIA GPU: the sentence where there is none, and TensorRT's order of calls on a fake one."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny_onnx
import torch

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import FixedBatch, gpu, onnx, onnx_cuda, tensorrt

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
PLAN = b"ftrt" + bytes(60)


@NO_GPU
@pytest.mark.parametrize("name", ["onnx-cuda", "tensorrt", "torch-cuda"])
def test_without_a_gpu_it_is_one_sentence_and_exit_6(name: str) -> None:
    with pytest.raises(MissingDependency, match=rf"the runtime {name} needs an NVIDIA GPU, and") as caught:
        gpu.require_gpu(name)
    assert (caught.value.exit_code, "\n" in caught.value.message) == (6, False)


@NO_GPU
def test_the_gpu_is_asked_for_before_tensorrt_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "_libraries", lambda: pytest.fail("TensorRT would crash here"))
    (tmp_path / "m.engine").write_bytes(PLAN)
    with pytest.raises(MissingDependency, match="the runtime tensorrt needs an NVIDIA GPU"):
        tensorrt.open_session(tmp_path / "m.engine", batch=1, threads=None)


@NO_GPU
def test_onnx_on_a_gpu_needs_one(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="the runtime onnx-cuda needs an NVIDIA GPU"):
        onnx_cuda.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)


def test_an_onnx_runtime_without_cuda_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_cuda, "require_gpu", lambda _name: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingDependency, match=r"has no CUDA provider.*pip install onnxruntime-gpu"):
        onnx_cuda.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)


def test_falling_back_to_the_cpu_is_no_measurement_of_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes the CUDA provider where it has none, and says so in its log only."""
    monkeypatch.setattr(onnx_cuda, "require_gpu", lambda _name: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnx_cuda.PROVIDER])
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _self: [onnx.PROVIDER])
    real = onnxruntime.InferenceSession

    def on_the_cpu(*args: Any, **options: Any) -> Any:
        return real(*args, **options | {"providers": [onnx.PROVIDER]})

    monkeypatch.setattr(onnx.ort, "InferenceSession", on_the_cpu)
    with pytest.raises(InputError, match="uses CPUExecutionProvider, not CUDAExecutionProvider"):
        onnx_cuda.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)


# ---- TensorRT -----------------------------------------------------------------------------------------------------


class Engine:
    """An engine that doubles its input `x` into `y`: a free batch from 1 to 4, or a fixed one."""

    num_io_tensors, num_optimization_profiles = 2, 1

    def __init__(self, leading: int) -> None:
        self.leading = leading

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "x" else "out"

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return (self.leading, 3)

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(1, 3), (2, 3), (4, 3)]

    def get_tensor_dtype(self, _name: str) -> str:
        return "FLOAT"

    def create_execution_context(self) -> Any:
        return Context(self)


class Context:
    """Writes to the addresses it was given, as TensorRT does."""

    active_optimization_profile = 0

    def __init__(self, engine: Engine) -> None:
        self.shape, self.engine = engine.get_tensor_shape("x"), engine
        self.at: dict[str, int] = {}

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return shape[0] <= 4

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.at[name] = address

    def execute_async_v3(self, _stream: int) -> bool:
        count = int(np.prod(self.shape))
        given, result = (
            np.ctypeslib.as_array(ctypes.cast(self.at[n], ctypes.POINTER(ctypes.c_float)), (count,)) for n in "xy"
        )
        result[:] = 2 * given
        return True


@pytest.fixture
def fake_tensorrt(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A library that reads plans whose byte 4 is the batch (255: free), on memory of the CPU."""
    fake: Any = types.ModuleType("tensorrt")
    fake.__version__ = "0.0"
    fake.ILogger = type("ILogger", (), {"Severity": types.SimpleNamespace(ERROR=1)})
    fake.TensorIOMode = types.SimpleNamespace(INPUT="in")
    fake.nptype = lambda _dtype: np.float32

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            assert plan[:4] == b"ftrt"
            if plan[4] == 99:
                self.logger.log(1, "Version tag does not match.\nmore")
                return None
            return Engine(-1 if plan[4] == 255 else plan[4])

    fake.Runtime = Runtime
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(tensorrt, "_LIBRARIES", ("tensorrt",))
    monkeypatch.setattr(tensorrt, "_DEVICE", "cpu")
    monkeypatch.setattr(tensorrt, "require_gpu", lambda _name: None)
    stream = types.SimpleNamespace(cuda_stream=1, synchronize=lambda: None)
    cuda = {"is_available": lambda: True, "Stream": lambda: stream, "get_device_name": lambda: "a fake"}
    for name, what in cuda.items():
        monkeypatch.setattr(torch.cuda, name, what)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    return fake


def engine_file(path: Path, leading: int, header: bytes = b"") -> Path:
    path.write_bytes(header + b"ftrt" + bytes([leading]) + bytes(40))
    return path


@pytest.mark.usefixtures("fake_tensorrt")
@pytest.mark.parametrize("header", [b"", (12).to_bytes(4, "little") + b'{"stride":8}'])
def test_an_engine_with_a_free_batch_runs_with_and_without_ultralytics_header(tmp_path: Path, header: bytes) -> None:
    session = tensorrt.open_session(engine_file(tmp_path / "m.engine", 255, header), batch=3, threads=None)
    assert (session.inputs[0].shape, session.outputs[0].shape) == ((3, 3), (3, 3))
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    first, second = session.run({"x": values}), session.another().run({"x": values + 1})
    np.testing.assert_array_equal(first["y"], 2 * values)
    np.testing.assert_array_equal(second["y"], 2 * values + 2)


@pytest.mark.usefixtures("fake_tensorrt")
def test_batches_that_an_engine_was_not_built_for_are_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch, match=r"takes 'x' from \(1, 3\) to \(4, 3\), not \(5, 3\)"):
        tensorrt.open_session(engine_file(tmp_path / "m.engine", 255), batch=5, threads=None)
    fixed = engine_file(tmp_path / "f.engine", 2)
    assert tensorrt.open_session(fixed, batch=None, threads=None).inputs[0].shape == (2, 3)
    with pytest.raises(FixedBatch, match="built for batch 2 alone, not for 1"):
        tensorrt.open_session(fixed, batch=1, threads=None)


@pytest.mark.usefixtures("fake_tensorrt")
def test_an_engine_of_another_version_is_said_in_tensorrts_first_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"another version .*tensorrt 0\.0: Version tag does not match\.\); build it"):
        tensorrt.open_session(engine_file(tmp_path / "m.engine", 99), batch=1, threads=None)


@pytest.mark.usefixtures("fake_tensorrt")
def test_a_file_that_is_no_engine_is_refused_and_a_missing_library_is_exit_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.engine").write_bytes(b"no engine at all")
    with pytest.raises(InputError, match="no TensorRT engine"):
        tensorrt.open_session(tmp_path / "m.engine", batch=1, threads=None)
    monkeypatch.setattr(tensorrt, "_LIBRARIES", ("tensorrt_of_nobody",))
    with pytest.raises(MissingDependency, match=r"pip install 'deploytk\[tensorrt\]'"):
        tensorrt.open_session(engine_file(tmp_path / "m.engine", 255), batch=1, threads=None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_real_engine_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt")
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    builder = trt.Builder(tensorrt._logger(trt))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, tensorrt._logger(trt))
    assert parser.parse_from_file(str(path))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("x", (1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    config.add_optimization_profile(profile)
    (tmp_path / "m.engine").write_bytes(bytes(builder.build_serialized_network(network, config)))
    feed = {"x": np.random.default_rng(0).random((3, 3, 8, 8), dtype=np.float32)}
    got = tensorrt.open_session(tmp_path / "m.engine", batch=3, threads=None).run(feed)["y"]
    wanted = onnx.open_session(path, batch=3, threads=1).run(feed)["y"]
    np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-2)  # TF32 has ten bits
