"""TensorRT on an NVIDIA GPU: a serialized engine, really run (tensorrt or tensorrt_rtx; torch holds the memory)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.runtimes import Feed, Options, chosen, cuda, require_fits, require_known
from deploytk.runtimes.tensorrt_library import complaints, named
from deploytk.runtimes.tensorrt_plan import Loaded, loaded
from deploytk.runtimes.tensorrt_shapes import Fit, fit
from deploytk.runtimes.tensorrt_words import require_memory

NEEDS_GPU = True
FORMATS = ("tensorrt-engine",)
DISTRIBUTIONS = ("tensorrt", "tensorrt-rtx", "torch")
OPTIONS = {
    "graph": cuda.GRAPH,
    "trust": "no (default), or yes: an engine that holds host code may be loaded, which runs that code",
}


class TensorRtSession:
    """An engine, one execution context and the GPU memory of its tensors: the Session protocol."""

    def __init__(self, engine: Loaded, batch: int | None, *, graph: bool) -> None:
        # Let go of in this order: the graph and the context before the engine, its runtime and logger.
        self._graph: Any = None
        self._context = self._given(engine, engine.engine.create_execution_context(), "execution context")
        self._engine, self._batch = engine, batch
        self._stream, self._clock = torch.cuda.Stream(), cuda.Clock()
        names = [engine.engine.get_tensor_name(i) for i in range(engine.engine.num_io_tensors)]
        ins = [name for name in names if self._is_input(name)]
        fitted = fit(engine.engine, ins, batch, engine.path)
        self._set_shapes(fitted)
        self.inputs = tuple(self._spec(name) for name in ins)
        self.outputs = tuple(self._spec(name) for name in names if name not in ins)
        specs = (*self.inputs, *self.outputs)
        with torch.cuda.stream(self._stream):
            self._device = {spec.name: cuda.on_device(_sizes(spec), spec.dtype) for spec in specs}
        self._host = {spec.name: cuda.on_host(_sizes(spec), spec.dtype) for spec in specs}
        for name, memory in self._device.items():
            self._must(self._context.set_tensor_address(name, memory.data_ptr()), f"take memory for {name!r}")
        if graph:
            self._graph, _ = cuda.captured(engine.path, self._enqueue, self._stream)
        self.details = self._details(fitted)

    @property
    def last_ms(self) -> dict[str, float]:
        """`device`: how long the GPU took for the engine in the last run, without the copies; empty before it."""
        return self._clock.last_ms

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name; the copies to the GPU and back are part of the call, and it waits for them."""
        with torch.cuda.stream(self._stream):
            for spec in self.inputs:
                self._host[spec.name].copy_(torch.from_numpy(require_fits(feed, spec)))
                self._device[spec.name].copy_(self._host[spec.name], non_blocking=True)
            with self._clock.around(self._stream):
                self._graph.replay() if self._graph else self._enqueue()
            for spec in self.outputs:
                self._host[spec.name].copy_(self._device[spec.name], non_blocking=True)
        self._stream.synchronize()
        return {spec.name: self._host[spec.name].numpy() for spec in self.outputs}

    def another(self) -> Self:
        """A second context on the same engine, with memory, a stream and a graph of its own."""
        return type(self)(self._engine, self._batch, graph=self._graph is not None)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError(f"TensorRT could not run the engine: {require_memory(complaints())}")

    def _set_shapes(self, fitted: Fit) -> None:
        """Choose the profile, then the shapes in it; those of the outputs follow."""
        chose = self._context.set_optimization_profile_async(fitted.profile, self._stream.cuda_stream)
        self._must(chose, f"use its profile {fitted.profile}")
        for name, shape in fitted.shapes.items():
            self._must(self._context.set_input_shape(name, shape), f"take {name!r} as {shape}")
        try:
            unknown = self._context.infer_shapes()
        except RuntimeError as error:
            raise InputError(f"{self._engine.path}: its shapes do not follow from its inputs: {error}") from error
        if unknown:
            raise InputError(f"{self._engine.path}: shapes stay unknown for {', '.join(unknown)}")

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.engine.get_tensor_mode(name) == self._engine.trt.TensorIOMode.INPUT)

    def _spec(self, name: str) -> TensorSpec:
        """One tensor with its shape in this context.

        Raises:
            InputError: its size depends on the data, it lives on the CPU, or NumPy has no such type.
        """
        trt, path = self._engine.trt, self._engine.path
        shape = tuple(int(size) for size in self._context.get_tensor_shape(name))
        if -1 in shape:
            raise InputError(f"{path}: the size of its output {name!r} depends on the data; build it without such ops")
        if self._engine.engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise InputError(f"{path}: its tensor {name!r} holds sizes, on the CPU; build it with fixed sizes")
        kind = self._engine.engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(trt.nptype(kind)).name
        except TypeError as error:
            raise InputError(f"{path}: its tensor {name!r} is {kind}, which NumPy does not have") from error
        return TensorSpec(name=name, shape=shape, dtype=dtype)

    def _details(self, fitted: Fit) -> dict[str, Any]:
        engine, known = self._engine, self._engine.built
        return {
            "provider": engine.trt.__name__,
            "device": torch.cuda.get_device_name(),
            "precision": known.computes_in if known else "unknown (an engine does not say)",
            "threads": 1,
            "profile": fitted.profile,
            "profile_batches": str(fitted.range) if fitted.range else "fixed",
            "profiles": engine.engine.num_optimization_profiles,
            "graph": "on" if self._graph else "off",
            "version": engine.trt.__version__,
            "rebatched": False,
        }

    def _must(self, done: bool, what: str) -> None:
        if not done:
            said = require_memory(complaints())
            raise InputError(f"{self._engine.path}: {named(self._engine.trt)} cannot {what}: {said}")

    @staticmethod
    def _given(engine: Loaded, value: Any, what: str) -> Any:
        if value is None:
            said = require_memory(complaints())
            raise InputError(f"{engine.path}: {named(engine.trt)} gives no {what}: {said}")
        return value


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> TensorRtSession:  # noqa: ARG001, B006
    """The engine at `path`, ready to run `batch` items at a time (None: its own size, or its first profile's best).

    `threads` means nothing here. Engines run on the kind of GPU and with the version of TensorRT that built them.

    Raises:
        MissingDependency: no GPU, or no TensorRT.
        InputError: not an engine that this TensorRT and GPU can read; another dimension than the batch is free; it
            holds host code, and the option trust is not given.
        FixedBatch: the engine was built for other batch sizes.
    """
    require_known("tensorrt", options, OPTIONS)
    graph = cuda.wants_graph("tensorrt", options)
    trust = chosen("tensorrt", options, "trust", {"no": False, "yes": True}, "no")
    cuda.require_cuda("tensorrt")  # first: without a driver, TensorRT's runtime crashes the process
    complaints()
    return TensorRtSession(loaded(path, trust=trust), batch, graph=graph)


def _sizes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(size) for size in spec.shape)
