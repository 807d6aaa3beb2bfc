"""LiteRT on this machine's CPU: a .tflite file, really run (ai_edge_litert)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from deploytk import usage
from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.graphs import litert as graphs
from deploytk.graphs import litert_batch
from deploytk.runtimes import Feed, FixedBatch, Options, chosen, precision, require_fits, require_known

FORMATS = ("tflite",)
DISTRIBUTIONS = ("ai-edge-litert",)
OPTIONS = {"xnnpack": "on (default): XNNPACK's kernels where it has them; off: LiteRT's own"}
_RESOLVERS = {"on": OpResolverType.AUTO, "off": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
Make = Callable[[], Interpreter]
#: An item computed in a batch may differ from the same item alone by rounding, no more: quantization steps, or
#: parts of the largest value.
_STEPS, _RELATIVE = 1.0, 1e-3


class LiteRtSession:
    """A .tflite file loaded and allocated: the Session protocol of `deploytk.runtimes`."""

    def __init__(self, make: Make, details: dict[str, Any]) -> None:
        self._make, self._interpreter = make, make()
        self._at_in, self.inputs = _specs(self._interpreter.get_input_details())
        self._at_out, self.outputs = _specs(self._interpreter.get_output_details())
        self.details: dict[str, Any] = {**details, "provider": _provider(self._interpreter)}

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name, in the dtypes and the order of `outputs`.

        Raises:
            InputError: an input is missing, or has another dtype or shape than the model's.
        """
        for spec, index in zip(self.inputs, self._at_in, strict=True):
            self._interpreter.set_tensor(index, require_fits(feed, spec))
        self._interpreter.invoke()
        return {s.name: self._interpreter.get_tensor(i) for s, i in zip(self.outputs, self._at_out, strict=True)}

    def another(self) -> Self:
        """A second interpreter on the same file: one alone is not for two threads."""
        return type(self)(self._make, self.details)


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> LiteRtSession:  # noqa: B006
    """The file, ready to run at `batch` (None: its own) with `threads` (None: all cores of this process).

    Raises:
        InputError: no TFLite model, one compiled for the NPU, or one with operators that LiteRT does not have.
        FixedBatch: the file cannot honestly be run at this batch size.
    """
    require_known("litert", options, OPTIONS)
    resolver = chosen("litert", options, "xnnpack", _RESOLVERS, "on")
    graph = graphs.read(path)
    if graph.compiled:
        raise InputError(
            f"{path}: compiled by Vela for an Ethos-U, so no host can run it; give the INT8 model from before Vela"
        )
    count = threads or usage.cores()
    details = _details(graph, count)
    own = _own_batch(graph)
    if batch is None or batch == own:
        return LiteRtSession(lambda: _allocated(path, graph, count, resolver), details)
    if own != 1:
        raise FixedBatch(f"{path.name} has batch size {own or 'none'} and cannot be run at {batch}")
    one = LiteRtSession(lambda: _allocated(path, graph, count, resolver), details)
    return _rebatched(path, one, batch, count, resolver)


def _rebatched(path: Path, one: LiteRtSession, batch: int, threads: int, resolver: OpResolverType) -> LiteRtSession:
    """The batch 1 file made one of `batch`, and proved: items of the batch come out as they do alone."""
    content = litert_batch.rebatched(path, batch)

    def make() -> Interpreter:
        interpreter = Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=resolver)
        for detail in interpreter.get_input_details():
            interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:].tolist()])
        interpreter.allocate_tensors()
        return interpreter

    try:
        many = LiteRtSession(make, {**one.details, "rebatched": True})
        _prove(one, many, batch)
    except (RuntimeError, ValueError) as error:  # a RESHAPE to a constant shape and the like
        raise FixedBatch(f"{path.name} holds batch size 1: {str(error).splitlines()[0]}") from error
    return many


def _prove(one: LiteRtSession, many: LiteRtSession, batch: int) -> None:
    """Nothing, where the first, middle and last item of a random batch come out as they do alone."""
    wrong = [m.name for o, m in zip(one.outputs, many.outputs, strict=True) if m.shape != (batch, *o.shape[1:])]
    if wrong or any(o.shape[:1] != (1,) for o in one.outputs):
        raise ValueError(f"its outputs do not grow with the batch ({', '.join(wrong) or 'no batch axis'})")
    feed = {spec.name: random_input(spec) for spec in many.inputs}
    together = many.run(feed)
    for item in sorted({0, batch // 2, batch - 1}):
        alone = one.run({name: values[item : item + 1] for name, values in feed.items()})
        for spec in one.outputs:
            if not _same(together[spec.name][item : item + 1], alone[spec.name]):
                raise ValueError(f"item {item} of a batch of {batch} does not come out as it does alone ({spec.name})")


def _same(together: np.ndarray, alone: np.ndarray) -> bool:
    error = np.abs(together.astype(np.float64) - alone.astype(np.float64))
    if np.issubdtype(alone.dtype, np.integer):
        return bool(error.max(initial=0.0) <= _STEPS)
    return bool(error.max(initial=0.0) <= _RELATIVE * max(1e-6, float(np.abs(alone).max(initial=0.0))))


def random_input(spec: TensorSpec, seed: int = 0) -> np.ndarray:
    """Reproducible values for one input: 0..1 for floats, the whole range for integers."""
    random = np.random.default_rng(seed)
    shape = tuple(int(d) for d in spec.shape)
    kind = np.dtype(spec.dtype)
    if kind == np.bool_:
        return random.integers(0, 2, shape).astype(bool)
    if np.issubdtype(kind, np.integer):
        return random.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    return random.random(shape).astype(kind)


def _allocated(path: Path, graph: graphs.Graph, threads: int, resolver: OpResolverType) -> Interpreter:
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        why = f"it has custom operators ({', '.join(graph.custom_ops)})" if graph.custom_ops else str(error)[:200]
        raise InputError(f"{path}: LiteRT cannot run this model: {why}") from error
    return interpreter


def _own_batch(graph: graphs.Graph) -> int | None:
    """The leading dimension that all inputs share; None where they share none."""
    leading = {t.shape[0] if t.shape else 0 for t in graph.inputs}
    return leading.pop() if len(leading) == 1 and 0 not in leading else None


def _details(graph: graphs.Graph, threads: int) -> dict[str, Any]:
    return {
        "precision": precision.told(Counter(k for node in graph.nodes for k in _kind(node)), otherwise=_io(graph)),
        "threads": threads,
        "version": metadata.version("ai-edge-litert"),
        "rebatched": False,
    }


def _kind(node: graphs.Node) -> Iterator[str]:
    """The precision of one operator with weights: float kernels quantize their values for int8 weights themselves."""
    constants = [t for t in node.inputs if t.constant]
    if not node.macs or not constants:
        return
    values = next((t.dtype for t in node.inputs if not t.constant), constants[0].dtype)
    reduced = constants[0].dtype in graphs.INTEGER and values == "float32"
    yield f"dynamic {constants[0].dtype}" if reduced else values


def _io(graph: graphs.Graph) -> str:
    return graph.outputs[0].dtype if graph.outputs else "unknown"


def _provider(interpreter: Interpreter) -> str:
    # LiteRT has no public way to ask; a delegate's share of the graph shows up as one operator named DELEGATE.
    delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return "XNNPACK" if delegated else "reference"


def _specs(details: list[dict[str, Any]]) -> tuple[list[int], tuple[TensorSpec, ...]]:
    """The interpreter's indices, and the specs in the same order with names made unique."""
    indices, specs, seen = [], [], set()
    for detail in details:
        name = detail["name"] if detail["name"] not in seen else f"{detail['name']}#{detail['index']}"
        seen.add(name)
        quantization = detail["quantization_parameters"]
        scaled = len(quantization["scales"]) == 1
        indices.append(int(detail["index"]))
        specs.append(
            TensorSpec(
                name=name,
                shape=tuple(int(d) for d in detail["shape"]),
                dtype=np.dtype(detail["dtype"]).name,
                scale=float(quantization["scales"][0]) if scaled else None,
                zero_point=int(quantization["zero_points"][0]) if scaled else None,
            )
        )
    return indices, tuple(specs)
