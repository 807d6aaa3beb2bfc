"""ONNX Runtime on the CPU. Imports onnxruntime (and onnx, to re-batch a file or to say what is wrong with it)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime as ort

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.runtimes import Feed, FixedBatch, Options, require_known

FORMATS = ("onnx",)
DISTRIBUTIONS = ("onnxruntime", "onnx")
PROVIDER = "CPUExecutionProvider"
OPTIONS: dict[str, str] = {}

#: Operator domains that ONNX Runtime brings itself.
_OWN_DOMAINS = frozenset(
    {
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft",
        "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten",
    }
)  # fmt: skip
_PREAMBLE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?")
#: How far a re-batched item may be from the same item at the file's own batch: kernels sum in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


class OnnxSession:
    """An ONNX model in ONNX Runtime: see `deploytk.runtimes.Session`."""

    def __init__(self, session: ort.InferenceSession, *, batch: int | None, rebatched: bool) -> None:
        self._session = session
        self.inputs = tuple(_with_batch(spec, batch) for spec in _specs(session.get_inputs()))
        self.outputs = tuple(_with_batch(spec, batch) for spec in _specs(session.get_outputs()))
        self._output_names = [spec.name for spec in self.outputs]
        self.details: dict[str, Any] = _details(session) | {"rebatched": rebatched}

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name."""
        return dict(zip(self._output_names, self._session.run(None, dict(feed)), strict=True))

    def another(self) -> Self:
        """The session itself: ONNX Runtime runs it from several threads at once."""
        return self


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> OnnxSession:  # noqa: B006
    """The model at `path`, ready to run `batch` items at a time (None: any number, or the file's own).

    Raises:
        InputError: not loadable (operators of a domain that is not installed are named), or another dimension than
            the batch is free.
        FixedBatch: the file holds another batch size and does not give the same results at this one.
    """
    require_known("onnx", options, OPTIONS)
    session = _load(path, path, threads)
    if not session.get_outputs():
        raise InputError(f"{path}: the graph has no output")
    specs = _specs(session.get_inputs())
    if batch is None:
        return OnnxSession(session, batch=None, rebatched=False)
    _refuse_other_free_dimensions(path, specs)
    own = _own_batch(path, specs)
    if own is None or own == batch:
        return OnnxSession(session, batch=batch, rebatched=False)
    try:
        rebatched = _load(path, _rebatched(path, own), threads)
    except InputError as error:
        raise FixedBatch(f"{path.name}: fixed at batch {own}, and not loadable with a free one") from error
    _prove_rebatched(path, session, rebatched, own, batch)
    return OnnxSession(rebatched, batch=batch, rebatched=True)


def _load(path: Path, model: Path | bytes, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only; they also come as exceptions
    if threads is not None:
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(
            model if isinstance(model, bytes) else str(model), sess_options=options, providers=[PROVIDER]
        )
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise InputError(_why_not_loaded(path, error)) from error
    # ONNX Runtime falls back to another provider without an error.
    used = session.get_providers()[0]
    if used != PROVIDER:
        raise InputError(f"{path}: ONNX Runtime uses {used}, not {PROVIDER}")
    return session


def _why_not_loaded(path: Path, error: Exception) -> str:
    custom = _custom_operators(path)
    if custom:
        listed = "; ".join(f"{domain}: {', '.join(sorted(ops))}" for domain, ops in sorted(custom.items()))
        return (
            f"{path}: needs custom operators that ONNX Runtime does not have ({listed}); "
            "export the model without them, or bench the part that has standard operators only"
        )
    return f"{path}: ONNX Runtime cannot load it: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    """What ONNX Runtime says, without its preamble."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _PREAMBLE.sub("", lines[0]).strip()


def _custom_operators(path: Path) -> dict[str, set[str]]:
    """Operators of domains that ONNX Runtime does not bring, by domain; empty for a file that is no ONNX."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf's and onnx's own: the first error says more
        return {}
    known = {function.domain for function in model.functions}
    found: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.domain not in _OWN_DOMAINS and node.domain not in known:
            found.setdefault(node.domain, set()).add(node.op_type)
    return found


def _specs(values: Sequence[Any]) -> tuple[TensorSpec, ...]:
    """Inputs or outputs of a session; a free dimension has its name, `?` where it has none."""
    return tuple(
        TensorSpec(
            name=v.name,
            shape=tuple(d if isinstance(d, int) and d > 0 else (d or "?") for d in v.shape or ()),
            dtype=_dtype(v.type),
        )
        for v in values
    )


def _dtype(said: str) -> str:
    """`float32` for ONNX Runtime's `tensor(float)`."""
    inner = said.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64", "string": "str"}.get(inner, inner)


def _with_batch(spec: TensorSpec, batch: int | None) -> TensorSpec:
    if batch is None or not spec.shape:
        return spec
    return replace(spec, shape=(batch, *spec.shape[1:]))


def _refuse_other_free_dimensions(path: Path, specs: Sequence[TensorSpec]) -> None:
    free = [f"{s.name}[{i}] ({d})" for s in specs for i, d in enumerate(s.shape) if i > 0 and isinstance(d, str)]
    if free:
        raise InputError(
            f"{path}: dimensions other than the batch are free: {', '.join(free)}; "
            "export the model with fixed sizes for them, so that it is known what is measured"
        )


def _own_batch(path: Path, specs: Sequence[TensorSpec]) -> int | None:
    """The batch size the file holds, None where it is free.

    Raises:
        InputError: there is no input with a leading dimension, so no batch.
        FixedBatch: the inputs have no leading dimension in common.
    """
    if not any(s.shape for s in specs):
        raise InputError(f"{path}: no input has a batch dimension ({len(specs)} inputs); this bench is by batch size")
    leading = {s.shape[0] for s in specs if s.shape}
    numbers = {d for d in leading if isinstance(d, int)}
    if not numbers and leading:
        return None
    if len(leading) != 1:
        raise FixedBatch(f"{path.name}: its inputs have no batch dimension in common: {[s.shape for s in specs]}")
    return numbers.pop()


def _rebatched(path: Path, own: int) -> bytes:
    """The model with a free leading dimension on its inputs, shapes that follow from the old one forgotten."""
    model = onnx.load(str(path))
    del model.graph.value_info[:]
    weights = {w.name for w in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and dims:
            dims[0].dim_param = "batch"
    _free_reshapes(model.graph, own)
    try:
        return bytes(model.SerializeToString())
    except ValueError as error:  # protobuf stops at 2 GiB
        raise FixedBatch(f"{path.name}: fixed at batch {own} and too large to be changed in memory") from error


def _free_reshapes(graph: Any, own: int) -> None:
    """Let constant shapes of Reshape that begin with the old batch follow the data; `_prove_rebatched` judges it."""
    constants = _constant_shapes(graph)
    weights = {w.name for w in graph.initializer}
    for index, node in enumerate(n for n in graph.node if n.op_type == "Reshape"):
        shape = constants.get(node.input[1])
        if shape is None or shape.ndim != 1 or not shape.size or shape[0] != own or node.input[0] in weights:
            continue
        free = shape.copy()
        free[0] = 0 if (free == -1).any() else -1
        name = f"deploytk_rebatched_shape_{index}"
        graph.initializer.append(onnx.numpy_helper.from_array(free, name))
        node.input[1] = name


def _constant_shapes(graph: Any) -> dict[str, np.ndarray]:
    """The int64 constants of the graph by name, initializers and Constant nodes alike."""
    tensors = {w.name: w for w in graph.initializer}
    constants = [n for n in graph.node if n.op_type == "Constant"]
    tensors |= {n.output[0]: a.t for n in constants for a in n.attribute if a.name == "value"}
    wanted = {name: t for name, t in tensors.items() if t.data_type == onnx.TensorProto.INT64}
    return {name: onnx.numpy_helper.to_array(t) for name, t in wanted.items()}


def _prove_rebatched(
    path: Path, original: ort.InferenceSession, rebatched: ort.InferenceSession, own: int, batch: int
) -> None:
    """Nothing; raises FixedBatch unless each item of the re-batched model gives what it gives in the file itself."""
    whole = _random_feed(_specs(original.get_inputs()), own * -(-batch // own))
    held = f"{path.name}: fixed at batch {own}; at {batch}"
    try:
        got = rebatched.run(None, {name: value[:batch] for name, value in whole.items()})
    except Exception as error:  # whatever onnxruntime raises for a graph that cannot run at this size
        raise FixedBatch(f"{held} it fails: {_first_line(error)}") from error
    starts = range(0, len(next(iter(whole.values()))), own)
    parts = [original.run(None, {name: value[at : at + own] for name, value in whole.items()}) for at in starts]
    for index, spec in enumerate(_specs(original.get_outputs())):
        expected = np.concatenate([np.atleast_1d(p[index]) for p in parts])[:batch]
        wrong = _differs(expected, np.asarray(got[index]), batch)
        if wrong:
            raise FixedBatch(f"{held} its output {spec.name} {wrong}")


def _differs(expected: np.ndarray, got: np.ndarray, batch: int) -> str:
    if got.ndim == 0 or got.shape[0] != batch:
        return f"has shape {got.shape}, which does not begin with {batch}"
    if got.shape != expected.shape:
        return f"has shape {got.shape} instead of {expected.shape}"
    if not np.issubdtype(got.dtype, np.number):
        return "" if (expected == got).all() else "differs from the file's own results"
    wanted, given = expected.astype(np.float64), got.astype(np.float64)
    if np.issubdtype(got.dtype, np.integer):
        # A rounding that falls the other way moves a quantized value by one step.
        return "" if np.abs(wanted - given).max(initial=0) <= 1 else "differs from the file's own results"
    scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0))
    same = np.allclose(wanted, given, rtol=_RELATIVE, atol=_ABSOLUTE * scale, equal_nan=True)
    return "" if same else "differs from the file's own results"


def _random_feed(specs: Sequence[TensorSpec], batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feed = {}
    for spec in specs:
        shape = (batch, *(int(d) for d in spec.shape[1:]))
        dtype = np.dtype(spec.dtype)
        values = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feed[spec.name] = values.astype(dtype)
    return feed


def _details(session: ort.InferenceSession) -> dict[str, Any]:
    options = session.get_session_options()
    return {
        "provider": session.get_providers()[0],
        "threads": options.intra_op_num_threads or "default (one per physical core)",
        "graph_optimization": options.graph_optimization_level.name,
        "version": ort.__version__,
    }
