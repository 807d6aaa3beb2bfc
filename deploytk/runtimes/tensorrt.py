"""TensorRT on an NVIDIA GPU: a serialized engine, really run (tensorrt or tensorrt_rtx; torch holds the memory)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError, MissingDependency
from deploytk.graphs.identify import engine_start
from deploytk.runtimes import Feed, FixedBatch, Options, require_fits, require_known
from deploytk.runtimes.gpu import require_gpu

FORMATS = ("tensorrt-engine",)
DISTRIBUTIONS = ("tensorrt", "tensorrt-rtx", "torch")
OPTIONS: dict[str, str] = {}
_LIBRARIES = ("tensorrt", "tensorrt_rtx")
#: What the logger was told: TensorRT raises nothing, it gives None and says why there.
_SAID: list[str] = []
_DEVICE = "cuda"


class TensorRtSession:
    """An engine, one execution context and the GPU memory of its tensors: the Session protocol."""

    def __init__(self, engine: Any, runtime: Any, trt: ModuleType, batch: int | None, path: Path) -> None:
        # TensorRT wants them alive in this order: runtime, engine, context.
        self._engine, self._runtime, self._trt, self._batch, self._path = engine, runtime, trt, batch, path
        self._context = _given(engine.create_execution_context(), path, "an execution context")
        self._stream = torch.cuda.Stream()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._buffers: dict[str, torch.Tensor] = {}
        self.inputs = tuple(self._input(name) for name in names if self._is_input(name))
        missing = self._context.infer_shapes()
        if missing:
            raise InputError(f"{path}: shapes stay unknown for {', '.join(missing)}")
        self.outputs = tuple(self._spec(name) for name in names if not self._is_input(name))
        for spec in (*self.inputs, *self.outputs):
            self._buffers[spec.name] = buffer = torch.empty(
                [int(d) for d in spec.shape], dtype=getattr(torch, spec.dtype), device=_DEVICE
            )
            self._context.set_tensor_address(spec.name, buffer.data_ptr())
        self.details: dict[str, Any] = {
            "provider": trt.__name__,
            "device": torch.cuda.get_device_name(),
            "precision": "unknown (an engine does not say)",
            "threads": 1,
            "profiles": engine.num_optimization_profiles,
            "version": trt.__version__,
            "rebatched": False,
        }

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name; the copies to the GPU and back are part of the call, and it waits for them."""
        with torch.cuda.stream(self._stream):
            for spec in self.inputs:
                self._buffers[spec.name].copy_(torch.from_numpy(require_fits(feed, spec)), non_blocking=True)
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise RuntimeError(f"TensorRT could not run the engine: {_last_words()}")
            outputs = {spec.name: self._buffers[spec.name].cpu() for spec in self.outputs}
        self._stream.synchronize()
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def another(self) -> Self:
        """A second context on the same engine, with memory and a stream of its own."""
        return type(self)(self._engine, self._runtime, self._trt, self._batch, self._path)

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def _input(self, name: str) -> TensorSpec:
        """One input with its shape set in the context: a free leading dimension is the batch."""
        shape = list(self._engine.get_tensor_shape(name))
        if -1 in shape[1:]:
            raise InputError(f"{self._path}: dimensions of {name!r} other than the batch are free: {shape}")
        if shape and shape[0] == -1:
            shape[0] = self._batch or int(self._engine.get_tensor_profile_shape(name, 0)[1][0])
        elif self._batch is not None and shape and shape[0] != self._batch:
            raise FixedBatch(f"{self._path.name}: built for batch {shape[0]} alone, not for {self._batch}")
        if not self._context.set_input_shape(name, tuple(shape)):
            least, _, most = self._engine.get_tensor_profile_shape(name, self._context.active_optimization_profile)
            raise FixedBatch(
                f"{self._path.name}: takes {name!r} from {tuple(least)} to {tuple(most)}, not {tuple(shape)}"
            )
        return self._spec(name)

    def _spec(self, name: str) -> TensorSpec:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).name
        return TensorSpec(name=name, shape=tuple(self._context.get_tensor_shape(name)), dtype=dtype)


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> TensorRtSession:  # noqa: ARG001, B006
    """The engine at `path`, ready to run `batch` items at a time (None: its own size, or its profile's best).

    `threads` means nothing here. Engines run on the kind of GPU and with the version of TensorRT that built them.

    Raises:
        MissingDependency: no GPU, or no TensorRT.
        InputError: not an engine that this TensorRT and GPU can read; another dimension than the batch is free.
        FixedBatch: the engine was built for other batch sizes.
    """
    require_known("tensorrt", options, OPTIONS)
    require_gpu("tensorrt")  # first: without a driver, TensorRT's runtime crashes the process
    if not torch.cuda.is_available():
        raise MissingDependency("the PyTorch that is installed cannot use this GPU; install a build of it for CUDA")
    plan, failures = _plan(path), []
    for trt in _libraries():
        runtime = trt.Runtime(_logger(trt))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is not None:
            return TensorRtSession(engine, runtime, trt, batch, path)
        failures.append(f"{trt.__name__} {trt.__version__}: {_last_words()}")
    raise InputError(f"{path}: built by another version or for another GPU ({'; '.join(failures)}); build it here")


def _plan(path: Path) -> bytes:
    content = path.read_bytes()
    start = engine_start(content)
    if start < 0:
        raise InputError(f"{path}: no TensorRT engine")
    return content[start:]


def _libraries() -> Iterator[ModuleType]:
    """Each TensorRT that is installed: an engine of one cannot be read by the other."""
    found = 0
    for name in _LIBRARIES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        found += 1
        yield module
    if not found:
        raise MissingDependency("TensorRT is not installed. Install it with: pip install 'deploytk[tensorrt]'")


@cache
def _logger(trt: Any) -> Any:
    """The logger of this process, which keeps errors for the message: TensorRT takes one and ignores any other."""

    class Keeping(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, said: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                _SAID.append(said)

    return Keeping()


def _last_words() -> str:
    return _SAID[-1].strip().splitlines()[0] if _SAID else "it does not say why"


def _given(value: Any, path: Path, what: str) -> Any:
    if value is None:
        raise InputError(f"{path}: TensorRT gives no {what}: {_last_words()}")
    return value
