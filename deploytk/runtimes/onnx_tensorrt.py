"""ONNX Runtime with its TensorRT provider: as `onnx-cuda`, what TensorRT takes of the graph compiled by it."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx as library

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import Options, chosen, onnx, onnx_cuda, onnx_readback, require_known
from deploytk.runtimes.gpu import require_gpu

NEEDS_GPU = True
FORMATS = ("onnx",)
DISTRIBUTIONS = ("onnxruntime-gpu", "onnx", "tensorrt")
OPTIONS = {**onnx.OPTIONS, "precision": "file (default), or float16: TensorRT may compute in it where it is faster"}
PROVIDER = "TensorrtExecutionProvider"
_NAME = "onnx-tensorrt"
#: Builds of ONNX Runtime want one or the other.
_LIBRARIES = ("libnvinfer.so.10", "libnvinfer.so.11", "nvinfer_10.dll", "nvinfer_11.dll")


@dataclass(kw_only=True)
class Wanted(onnx.Wanted):
    """As for the CPU; the precision is the file's, as a compiled graph cannot be written down to be read."""

    half: bool = False

    def precision(self) -> str:
        """What TensorRT was told to compute in; it does not say what it chose."""
        told = onnx_readback.stored(self.path)
        return f"{told}, float16 where TensorRT finds it faster" if self.half else told


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> onnx.OnnxSession:  # noqa: B006
    """The model built by TensorRT for `batch` items; building is part of opening it. Errors as for `onnx`.

    Raises:
        MissingDependency: no GPU, an ONNX Runtime without TensorRT, or no TensorRT.
        InputError: TensorRT takes nothing of the model, or parts of it would run on the CPU.
    """
    require_known(_NAME, options, OPTIONS)
    half = chosen(_NAME, options, "precision", {"file": False, "float16": True}, "file")
    require_gpu(_NAME)
    onnx_cuda.require_provider(PROVIDER, "TensorRT")
    _require_tensorrt()
    told = {"trt_fp16_enable": str(half), **shapes(path, batch)}
    providers = [(PROVIDER, told), onnx_cuda.PROVIDER]
    wanted = Wanted(
        path=path, runtime=_NAME, provider=PROVIDER, threads=threads, options=options, providers=providers, half=half
    )
    session = onnx.opened(wanted, batch)
    require_some(path, wanted.placed.get("nodes"))
    return session


def shapes(path: Path, batch: int | None) -> dict[str, str]:
    """The provider's options that have the engine built for one batch size, when the model is loaded.

    Without them it is built in the first call, and again in each that comes with another size. None for a file with a
    batch size of its own.
    """
    model = library.load(str(path), load_external_data=False)
    weights = {w.name for w in model.graph.initializer}
    told = []
    for value in model.graph.input:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name not in weights and sizes and batch and not sizes[0]:
            told.append(f"{value.name}:{'x'.join(map(str, [batch, *sizes[1:]]))}")
            if not all(sizes[1:]):
                return {}  # refused when it is opened, with the names of the free dimensions
    return {f"trt_profile_{which}_shapes": ",".join(told) for which in ("min", "opt", "max")} if told else {}


def require_some(path: Path, nodes: Any) -> None:
    """Nothing, where TensorRT has a part of the graph, or where it is not known.

    Raises:
        InputError: it has none.
    """
    if isinstance(nodes, Mapping) and not nodes.get(PROVIDER):
        raise InputError(f"{path}: TensorRT takes nothing of it; bench it with --runtime onnx-cuda")


def _require_tensorrt() -> None:
    """Nothing, where libnvinfer can be loaded; the wheel brings it to where only its own module finds it."""
    with suppress(ImportError):
        importlib.import_module("tensorrt")
    for name in _LIBRARIES:
        with suppress(OSError):
            ctypes.CDLL(name)
            return
    raise MissingDependency(
        f"the runtime {_NAME} needs TensorRT (libnvinfer; TensorRT-RTX has none). Install it with: pip install tensorrt"
    )
