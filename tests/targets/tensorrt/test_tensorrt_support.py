"""Whatever TensorRT is installed, a model is read by one that can, or the error says which can."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_onnx
from tensorrt_contract import script

from deploytk import worker
from deploytk.errors import MissingDependency
from deploytk.runtimes import gpu, tensorrt_library
from deploytk.targets.tensorrt import network, support

PARSED = "deploytk.targets.tensorrt.support:parsed"
AVAILABLE = "deploytk.targets.tensorrt.support:available"


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real `tensorrt` 10.3.0 on libraries that do nothing, and no TensorRT-RTX."""
    folder = tmp_path_factory.mktemp("bindings")
    try:
        script().write_bindings("10.3.0", folder)
    except FileNotFoundError as error:
        pytest.skip(f"{error} is not there to compile the stand-in libraries")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no bindings of TensorRT 10.3.0 for this Python: {str(error.stderr)[-200:]}")
    (folder / "tensorrt_bindings").rename(folder / "tensorrt")
    (folder / "tensorrt_rtx.py").write_text("raise ImportError('hidden by the test')\n")
    return folder


def asked(folder: Path, logs: Path, function: str, libraries: bool = True, **kwargs: Any) -> Any:
    path = f"{folder}:{Path(support.__file__).parents[3]}"
    env = {"PYTHONPATH": path} | ({"LD_LIBRARY_PATH": str(folder)} if libraries else {})
    return worker.call(function, kwargs, logs=logs, name="asked", timeout_s=60, env=env)


@pytest.mark.e2e
@pytest.mark.skipif(gpu.found() is not None, reason="there is a GPU, on which the stand-in libraries prove nothing")
def test_a_tensorrt_that_wants_a_gpu_is_told_so_with_what_does_not(bindings: Path, tmp_path: Path) -> None:
    model = str(tiny_onnx.conv(tmp_path / "m.onnx"))
    with pytest.raises(MissingDependency, match="TensorRT-RTX does so without one; install it with: pip install"):
        asked(bindings, tmp_path, PARSED, path=model, ops=[])
    [told] = asked(bindings, tmp_path, AVAILABLE)
    assert told["library"] == "TensorRT 10.3.0"
    assert told["problem"]
    assert told["capabilities"] == []


@pytest.mark.e2e
def test_bindings_without_their_libraries_are_no_tensorrt(bindings: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"TensorRT is not installed. .*deploytk\[tensorrt\]"):
        asked(bindings, tmp_path, AVAILABLE, libraries=False)


def test_the_first_that_makes_a_builder_reads_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    without = SimpleNamespace(__name__="tensorrt", __version__="10.3.0", Builder=refuses)
    rtx = SimpleNamespace(__name__="tensorrt_rtx", __version__="1.7", Builder=lambda _logger: "a builder")
    monkeypatch.setattr(tensorrt_library, "libraries", lambda: iter([without, rtx]))
    monkeypatch.setattr(tensorrt_library, "logger", lambda _trt: None)
    assert network.builder() == (rtx, "a builder")


@pytest.mark.parametrize(
    ("name", "version", "flags"), [("tensorrt", "10.3.0", 2), ("tensorrt", "11.4.0.106", 0), ("tensorrt_rtx", "1.7", 0)]
)
def test_only_tensorrt_10_is_asked_to_be_strongly_typed(name: str, version: str, flags: int) -> None:
    flag = SimpleNamespace(STRONGLY_TYPED=1)
    trt: Any = SimpleNamespace(__name__=name, __version__=version, NetworkDefinitionCreationFlag=flag)
    assert network.typed_flag(trt) == flags


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('(antialias == 0) && "Antialiasing is not supported currently."', "Antialiasing is not supported currently."),
        ("false", "false"),
        ("", "it does not say why"),
        ("Assertion failed: ok(): Found unsupported input type", "ok(): Found unsupported input type"),
        (
            "Invalid Node - pool\nITensor::getDimensions: Error Code 4: API Usage Error (pool: input has type Int32. "
            "In checkType at /_src/nodeBase.cpp:456)\n[checkMacros.cpp] Error Code 1",
            "pool: input has type Int32.",
        ),
        ("[layersImpl.cpp::operator()::107] Error Code 2: Internal Error (n51: dynamic shape)", "n51: dynamic shape)"),
    ],
    ids=["quoted", "false", "nothing", "assertion", "several lines", "a place"],
)  # fmt: skip
def test_a_complaint_is_told_without_places_in_other_sources(said: str, told: str) -> None:
    assert support._told(said) == told
