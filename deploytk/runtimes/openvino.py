"""OpenVINO on this machine's CPU: an ONNX file or an OpenVINO IR (.xml with its .bin), really run."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.runtimes import (
    Feed,
    FixedBatch,
    Options,
    chosen,
    precision,
    require_fits,
    require_known,
    whole_number,
)  # fmt: skip
from deploytk.runtimes.openvino_library import ov
from deploytk.runtimes.rebatching import Run, first_line, own_batch, prove

FORMATS = ("onnx", "openvino-xml")
DISTRIBUTIONS = ("openvino",)
DEVICE = "CPU"
OPTIONS = {
    "hint": "latency (default) or throughput: what OpenVINO chooses its streams for",
    "streams": "a number: how many requests run side by side, each with its part of the threads",
    "precision": "f32, bf16 or f16: the floats to compute in; without it OpenVINO chooses, bf16 where the CPU has it",
}
_HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}
_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
#: What ends the name of a kernel -> the precision it computes in.
#: Inputs whose tensors are kept: those that are given again and again.
_MOST_KEPT = 32
_KERNELS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "i8": "int8", "u8": "int8", "i4": "int4"}
#: Layers of the compiled model that hold the multiplications.
_WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq"})


class OpenVinoSession:
    """A model compiled by OpenVINO, and one request on it: the Session protocol of `deploytk.runtimes`."""

    def __init__(self, model: ov.CompiledModel, known: Mapping[str, Any]) -> None:
        self._model, self._known = model, known
        self._request = model.create_infer_request()
        self._tensors: dict[int, tuple[Callable[[], Any] | None, ov.Tensor | None]] = {}
        self.inputs = tuple(_spec(port) for port in model.inputs)
        self.outputs = tuple(_spec(port) for port in model.outputs)

    @cached_property
    def details(self) -> dict[str, Any]:
        """What was really got; read back when it is first asked for, so that it is no part of the time to load."""
        model = self._model
        return {
            "provider": ", ".join(model.get_property("EXECUTION_DEVICES")),
            "precision": precision.told(operators(model), otherwise=_float(model)),
            "threads": int(model.get_property("INFERENCE_NUM_THREADS")),
            "streams": int(model.get_property("NUM_STREAMS")),
            "hint": str(model.get_property("PERFORMANCE_HINT")).lower(),
            "best_requests": int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
            "version": metadata.version("openvino"),
            **self._known,
        }

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name. Inputs are read in place; outputs are the request's own and hold until its next run.

        Raises:
            InputError: an input is missing, or has another dtype or shape than the model's.
        """
        # After each inference the caches are the model's, and every line of Python here is slow: with the checks of
        # each call and copied outputs a call took up to 5 % longer than OpenVINO's own latency (bench/LOG.md).
        for index, spec in enumerate(self.inputs):
            self._request.set_input_tensor(index, self._tensor(feed, spec))
        self._request.infer(share_outputs=True)
        return {spec.name: self._request.get_output_tensor(i).data for i, spec in enumerate(self.outputs)}

    def _tensor(self, feed: Feed, spec: TensorSpec) -> ov.Tensor:
        """The input as a tensor on its own memory, kept from the second time that the same array is given."""
        value = feed.get(spec.name)
        seen, kept = self._tensors.get(id(value), (None, None))
        again = seen is not None and seen() is value
        if again and kept is not None:
            return kept
        fitting = require_fits(feed, spec)
        tensor = ov.Tensor(fitting, shared_memory=True)
        if fitting is value:
            if len(self._tensors) >= _MOST_KEPT:
                self._tensors.clear()
            # The first time only weakly: an array that is made anew for each call must not be kept in memory.
            self._tensors[id(value)] = (weakref.ref(value), tensor if again else None)
        return tensor

    def another(self) -> Self:
        """A second request on the same compiled model."""
        return type(self)(self._model, self._known)


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> OpenVinoSession:  # noqa: B006
    """The model at `path`, compiled for `batch` items at a time (None: any number, or the file's own).

    Raises:
        InputError: not loadable; an IR without its .bin; another dimension than the batch is free; an option that does
            not exist, or that OpenVINO takes and does not follow (threads, streams, precision).
        FixedBatch: the file holds another batch size and does not give the same results at this one.
    """
    require_known("openvino", options, OPTIONS)
    config = _config(threads, options)
    core = one_core()
    model = _read(core, path)
    inputs = [_spec(port) for port in model.inputs]
    rebatched = False
    if batch is not None:
        own = own_batch(path, inputs)
        _reshape(path, model, batch, own)
        rebatched = own is not None and own != batch
        if own is not None and rebatched:
            _prove(core, path, model, inputs, own, batch)
    session = OpenVinoSession(_compiled(core, path, model, config), {"rebatched": rebatched})
    _require_obeyed(session, threads, options)
    return session


@cache
def one_core() -> ov.Core:
    """The one core of the process, which lives as long as it: its models share a plugin and its threads.

    The CPU plugin gives the thread that compiles first a signal stack of its own, and unmaps it when its core goes,
    in whatever thread garbage is collected. The next signal to the first thread then kills the process without a word
    (OpenVINO 2026.4, found in a core dump: SIGSEGV within SIGCHLD).
    """
    return ov.Core()


def _config(threads: int | None, options: Options) -> dict[str, Any]:
    config: dict[str, Any] = {"PERFORMANCE_HINT": chosen("openvino", options, "hint", _HINTS, "latency")}
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    streams = whole_number("openvino", options, "streams")
    if streams is not None:
        config["NUM_STREAMS"] = streams
    if "precision" in options:
        chosen("openvino", options, "precision", _PRECISIONS, "f32")
        config["INFERENCE_PRECISION_HINT"] = options["precision"]
    return config


def _read(core: ov.Core, path: Path) -> ov.Model:
    weights = path.with_suffix(".bin")
    if path.suffix.lower() == ".xml" and not weights.is_file():
        raise InputError(f"{path}: its weights are missing; put {weights.name} beside it")
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise InputError(f"{path}: OpenVINO cannot load it: {why(error)}") from error
    if not model.outputs:
        raise InputError(f"{path}: the graph has no output")
    return model


def _compiled(core: ov.Core, path: Path, model: ov.Model, config: Mapping[str, Any]) -> ov.CompiledModel:
    try:
        compiled = core.compile_model(model, DEVICE, dict(config))
    except RuntimeError as error:
        raise InputError(f"{path}: OpenVINO cannot compile it: {why(error)}") from error
    used = compiled.get_property("EXECUTION_DEVICES")
    if used != [DEVICE]:
        raise InputError(f"{path}: OpenVINO runs it on {', '.join(used)}, not {DEVICE}")
    return compiled


def _reshape(path: Path, model: ov.Model, batch: int, own: int | None) -> None:
    """Set the leading dimension of every input that has one, and of every constant shape that holds the old one."""
    if own == batch:
        return
    if own is not None:
        for reshape in [node for node in model.get_ops() if node.get_type_name() == "Reshape"]:
            _follow(reshape, own)
    shapes = {i: [batch, *list(p.partial_shape)[1:]] for i, p in enumerate(model.inputs) if len(p.partial_shape)}
    try:
        model.reshape({model.inputs[i]: ov.PartialShape(shape) for i, shape in shapes.items()})
    except RuntimeError as error:
        raise FixedBatch(f"{path.name}: fixed at batch {own}; at {batch} it fails: {why(error)}") from error


def _follow(reshape: Any, own: int) -> None:
    """Let the leading number of a constant shape, the old batch, follow from the data; `_prove` judges it."""
    values, shape = (reshape.input_value(i).get_node() for i in (0, 1))
    if shape.get_type_name() != "Constant" or values.get_type_name() == "Constant":
        return
    dims = np.array(shape.data)
    if dims.ndim == 1 and dims.size and dims[0] == own:
        dims[0] = 0 if (dims == -1).any() else -1  # 0 copies the dimension of the data
        reshape.input(1).replace_source_output(ov.op.Constant(dims).output(0))


def _prove(core: ov.Core, path: Path, model: ov.Model, inputs: Sequence[TensorSpec], own: int, batch: int) -> None:
    """Nothing, where items come out of the re-batched model as of the file; in f32, so that roundings stay small."""
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    original, many = _compiled(core, path, _read(core, path), exact), _compiled(core, path, model, exact)
    prove(path.name, _runner(original), _runner(many), inputs, [_name(p) for p in model.outputs], own, batch)


def _runner(model: ov.CompiledModel) -> Run:
    session = OpenVinoSession(model, {})
    return lambda feed: [value.copy() for value in session.run(feed).values()]


def _require_obeyed(session: OpenVinoSession, threads: int | None, options: Options) -> None:
    """Nothing, where OpenVINO did as it was told: it takes numbers and precisions that it then does not use."""
    streams = whole_number("openvino", options, "streams")
    for asked, what in ((threads, "threads"), (streams, "streams")):
        if asked is not None and session.details[what] != asked:
            raise InputError(f"OpenVINO uses {session.details[what]} {what}, not the {asked} that were asked for")
    if "precision" in options:
        wanted = _PRECISIONS[options["precision"]]
        floats = set(operators(session._model)) & set(_PRECISIONS.values())
        got = _float(session._model)
        if got != wanted or (floats and wanted not in floats):
            raise InputError(
                f"precision={options['precision']} was asked for, and OpenVINO computes in "
                f"{session.details['precision'] if floats else got} on this CPU"
            )


def operators(model: ov.CompiledModel) -> Counter[str]:
    """Precision -> how many layers with multiplications compute in it."""
    return Counter(kind for node in model.get_runtime_model().get_ordered_ops() for kind in _kind(node.get_rt_info()))


def _kind(told: Any) -> Iterator[str]:
    """From the name of the kernel (brgconv_avx512_1x1_bf16): `runtimePrecision` is that of the stored weights."""
    if _text(told, "layerType") in _WEIGHTED:
        kernel = _text(told, "primitiveType").lower().rsplit("_", 1)[-1]
        kind = kernel if kernel in _KERNELS else _text(told, "runtimePrecision")
        yield _KERNELS.get(kind, kind)


def _text(told: Any, key: str) -> str:
    return str(told[key].astype(str)) if key in told else ""


def _float(model: ov.CompiledModel) -> str:
    """The floats that the compiled model was told to use, as it says."""
    name = str(model.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    return _PRECISIONS.get(name, name)


def _spec(port: Any) -> TensorSpec:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        raise InputError(f"input or output {_name(port)!r} has no known number of dimensions; export it with shapes")
    dims = tuple(d.get_length() if d.is_static else "?" for d in shape)
    return TensorSpec(name=_name(port), shape=dims, dtype=np.dtype(port.element_type.to_dtype()).name)


def _name(port: Any) -> str:
    return str(port.any_name if port.names else port.node.friendly_name)


def why(error: Exception) -> str:
    """The sentences of OpenVINO's message that are no place in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    unknown = [line.strip("- ") for line in told if "No conversion rule" in line]
    return "; ".join(unknown or told[:1])[:300] or first_line(error)
