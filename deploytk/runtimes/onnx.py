"""ONNX Runtime on the CPU. Imports onnxruntime (and onnx, to re-batch a file or to say what is wrong with it)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime as ort
import psutil

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.runtimes import Feed, FixedBatch, Options, chosen, onnx_placement, onnx_readback, require_known
from deploytk.runtimes.rebatching import Run, own_batch, prove, with_batch

FORMATS = ("onnx",)
DISTRIBUTIONS = ("onnxruntime", "onnx")
PROVIDER = "CPUExecutionProvider"
OPTIONS = {
    "optimization": "how far the graph is optimised: all (default), extended, basic or off",
    "spin": "on (default): idle threads wait busily, which takes the cores from other models of the process; stop: "
    "only while a run goes on (for several models in one process); off",
}

#: Operator domains that ONNX Runtime brings itself.
_OWN_DOMAINS = frozenset(
    {
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft",
        "com.microsoft.experimental", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten",
    }
)  # fmt: skip
_PREAMBLE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?")
_SPIN, _STOP = "session.intra_op.allow_spinning", "session.force_spinning_stop"
#: The option "spin" -> whether threads may spin, and whether they must stop at the end of a run.
_SPINS = {"on": ("1", "0"), "stop": ("1", "1"), "off": ("0", "0")}
_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class OnnxSession:
    """An ONNX model in ONNX Runtime: see `deploytk.runtimes.Session`."""

    def __init__(self, session: ort.InferenceSession, wanted: Wanted, *, batch: int | None, rebatched: bool) -> None:
        self._session, self._wanted, self._rebatched = session, wanted, rebatched
        self.inputs = tuple(with_batch(spec, batch) for spec in _specs(session.get_inputs()))
        self.outputs = tuple(with_batch(spec, batch) for spec in _specs(session.get_outputs()))
        self._output_names = [spec.name for spec in self.outputs]

    @cached_property
    def details(self) -> dict[str, Any]:
        """What was really got; read back when it is first asked for, so that it is no part of the time to load."""
        options = self._session.get_session_options()
        wanted = self._wanted
        return {
            "provider": self._session.get_providers()[0],
            "precision": wanted.precision(),
            "threads": wanted.threads_got,
            "threads_by": "asked" if wanted.threads else "ONNX Runtime's default, one per physical core",
            "graph_optimization": options.graph_optimization_level.name,
            "spin": _spin(options),
            "version": ort.__version__,
            "rebatched": self._rebatched,
            **wanted.placed,
        }

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name."""
        return dict(zip(self._output_names, self._session.run(None, dict(feed)), strict=True))

    def another(self) -> Self:
        """The session itself: ONNX Runtime runs it from several threads at once."""
        return self


@dataclass(kw_only=True)
class Wanted:
    """What is asked of ONNX Runtime for one file, and what it then really has: threads, and a GPU's nodes."""

    path: Path
    runtime: str
    provider: str
    threads: int | None
    options: Options
    providers: Sequence[Any] = ()  # the provider with its own options, and others after it; without: it alone
    placed: dict[str, Any] = field(default_factory=dict)
    threads_got: int = 0

    @property
    def asked(self) -> list[Any]:
        """The providers in their order."""
        return list(self.providers) or [self.provider]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU's provider is wanted: nodes may fall back to the CPU then, without an error."""
        return self.provider != PROVIDER

    def precision(self) -> str:
        """What ONNX Runtime computes in, in words."""
        return onnx_readback.effective(self.path, self.session_options, [self.provider])

    def session_options(self) -> ort.SessionOptions:
        """Fresh options; errors only in the log, which also come as exceptions."""
        made = ort.SessionOptions()
        made.log_severity_level = 3
        made.intra_op_num_threads = self.threads or 0
        made.inter_op_num_threads = 1
        made.graph_optimization_level = chosen(self.runtime, self.options, "optimization", _LEVELS, "all")
        for entry, value in zip((_SPIN, _STOP), chosen(self.runtime, self.options, "spin", _SPINS, "on"), strict=True):
            made.add_session_config_entry(entry, value)
        if self.on_gpu:
            made.add_session_config_entry(onnx_placement.RECORD, "1")
        return made


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> OnnxSession:  # noqa: B006
    """The model at `path`, ready to run `batch` items at a time (None: any number, or the file's own).

    Raises:
        InputError: not loadable (operators of a domain that is not installed are named), or another dimension than
            the batch is free; an option, or a value of one, that does not exist.
        FixedBatch: the file holds another batch size and does not give the same results at this one.
    """
    require_known("onnx", options, OPTIONS)
    return opened(Wanted(path=path, runtime="onnx", provider=PROVIDER, threads=threads, options=options), batch)


def opened(wanted: Wanted, batch: int | None) -> OnnxSession:
    """The session for a file with whichever provider is wanted; errors as for `open_session`."""
    path = wanted.path
    session = _load(wanted, path)
    if not session.get_outputs():
        raise InputError(f"{path}: the graph has no output")
    if batch is None:
        return OnnxSession(session, wanted, batch=None, rebatched=False)
    specs = _specs(session.get_inputs())
    own = own_batch(path, specs)
    if own is None or own == batch:
        return OnnxSession(session, wanted, batch=batch, rebatched=False)
    try:
        rebatched = _load(wanted, _rebatched(path, own))
    except InputError as error:
        raise FixedBatch(f"{path.name}: fixed at batch {own}, and not loadable with a free one") from error
    outputs = [o.name for o in session.get_outputs()]
    prove(path.name, _runner(session), _runner(rebatched), specs, outputs, own, batch)
    return OnnxSession(rebatched, wanted, batch=batch, rebatched=True)


def _spin(options: ort.SessionOptions) -> str:
    """The option "spin" that a session has."""
    got = tuple(options.get_session_config_entry(entry) for entry in (_SPIN, _STOP))
    return next(name for name, entries in _SPINS.items() if entries == got)


def _runner(session: ort.InferenceSession) -> Run:
    def run(feed: Feed) -> list[np.ndarray]:
        try:
            return list(session.run(None, dict(feed)))
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise RuntimeError(_first_line(error)) from error

    return run


def _load(wanted: Wanted, model: Path | bytes) -> ort.InferenceSession:
    options = wanted.session_options()
    before = _threads_of_process()
    try:
        session = ort.InferenceSession(
            model if isinstance(model, bytes) else str(model), sess_options=options, providers=wanted.asked
        )
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise InputError(_why_not_loaded(wanted.path, error)) from error
    # ONNX Runtime falls back to another provider without an error.
    used = session.get_providers()[0]
    if used != wanted.provider:
        raise InputError(f"{wanted.path}: ONNX Runtime uses {used}, not {wanted.provider}")
    if wanted.on_gpu:
        wanted.placed = onnx_placement.placed(session, wanted.path)
    wanted.threads_got = options.intra_op_num_threads or _default_threads(used, _threads_of_process() - before)
    return session


def _default_threads(provider: str, made: int) -> int:
    """The threads of a session that was not told a number, which ONNX Runtime does not say.

    It makes a pool of one less than it uses, as the caller's thread works too; a GPU's driver makes threads as well.
    """
    return made + 1 if provider == PROVIDER else psutil.cpu_count(logical=False) or 1


def _threads_of_process() -> int:
    return int(psutil.Process().num_threads())


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
    """Let constant shapes of Reshape that begin with the old batch follow the data; `rebatching.prove` judges it."""
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
