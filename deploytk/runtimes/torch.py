"""PyTorch on the CPU, operator by operator: a program that torch.export saved (.pt2), or a TorchScript archive."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch.utils import _pytree as pytree

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.graphs.identify import identify
from deploytk.runtimes import Feed, FixedBatch, Options, precision, require_fits, require_known
from deploytk.runtimes.rebatching import first_line, own_batch, prove, random_feed, with_batch

FORMATS = ("torch-program", "torchscript")
DISTRIBUTIONS = ("torch",)
OPTIONS = {
    "shape": "the sizes of one item of a TorchScript's inputs, which the file does not hold: 3x640x640, or 3x64x64,10"
}
#: What torch.load must not do while a program is loaded: it asks for unpickling in places (sample inputs, constants).
_NO_PICKLES = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_OBJECTS = ("custom_obj_", "opaque_obj_")
#: Operators whose second argument is the weight.
_WEIGHTED = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution", "linear", "matmul", "mm"})


@dataclass(kw_only=True)
class Loaded:
    """A module with what is known of it: inputs as the file has them, the batch sizes it takes, its precision."""

    path: Path
    module: Callable[..., Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str
    batches: tuple[int, float] = (1, float("inf"))
    proved: bool = True  # whether the file itself says that each item is computed alone

    def at(self, batch: int | None) -> Loaded:
        """The same for `batch` items at a time.

        Raises:
            InputError: another dimension than the batch is free, or there is none.
            FixedBatch: the file holds another batch size, or was not exported for this one.
        """
        if batch is None:
            return self
        own = own_batch(self.path, self.inputs)
        name, (least, most) = self.path.name, self.batches
        if own is not None and own != batch:
            raise FixedBatch(f"{name}: exported for batch {own} alone; at {batch} its graph would not be the same")
        if not least <= batch <= most:
            raise FixedBatch(f"{name}: exported for batches from {least} to {most:g}, not for {batch}")
        inputs = tuple(with_batch(spec, batch) for spec in self.inputs)
        outputs = tuple(_filled(spec, self.inputs, batch) for spec in self.outputs)
        return replace(self, inputs=inputs, outputs=outputs)

    def at_one(self, batch: int | None) -> Loaded:
        """The same at one batch size: `batch`, the file's own, or the smallest it takes. Errors as for `at`."""
        free = self.inputs[0].shape[:1] != () and isinstance(self.inputs[0].shape[0], str)
        return self.at(max(1, self.batches[0]) if batch is None and free else batch)


class TorchSession:
    """A PyTorch module and the device it runs on: the Session protocol of `deploytk.runtimes`."""

    def __init__(self, loaded: Loaded, device: str, details: Mapping[str, Any]) -> None:
        self._module, self._device = loaded.module, device
        self.inputs, self.outputs = loaded.inputs, loaded.outputs
        self.details: dict[str, Any] = {
            "provider": device,
            "precision": loaded.precision,
            "threads": torch.get_num_threads(),
            "version": torch.__version__,
            "rebatched": False,
            **details,
        }

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name; on a GPU the copies there and back are part of the call.

        Raises:
            InputError: an input is missing, or has another dtype or shape than the model's.
        """
        given = [torch.from_numpy(require_fits(feed, spec)) for spec in self.inputs]
        got = [tensor.numpy() for tensor in self.tensors(given)]
        return dict(zip((spec.name for spec in self.outputs), got, strict=True))

    def tensors(self, given: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The tensors among the outputs, computed and on the CPU."""
        with torch.inference_mode():
            if self._device != "cpu":
                given = [tensor.to(self._device) for tensor in given]
            got = [leaf for leaf in pytree.tree_leaves(self._module(*given)) if isinstance(leaf, torch.Tensor)]
            if self._device == "cpu":
                return got
            copied = [tensor.cpu() for tensor in got]
            torch.cuda.synchronize()
            return copied

    def another(self) -> Self:
        """The session itself: it keeps nothing from call to call, and PyTorch runs it from several threads."""
        return self


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> TorchSession:  # noqa: B006
    """The program at `path`, ready to run `batch` items at a time (None: its own size, or any).

    Raises:
        InputError: not loadable, or it would unpickle objects; a TorchScript without the option shape; another
            dimension than the batch is free; another number of threads than PyTorch uses.
        FixedBatch: the file was exported for another batch size.
    """
    require_known("torch", options, OPTIONS)
    set_threads(threads)
    loaded = load(path, options).at(batch)
    session = TorchSession(loaded, "cpu", {"compiled": False})
    if not loaded.proved and batch not in (None, 1):
        prove_script(session, loaded, int(batch or 1))
    return session


def set_threads(threads: int | None) -> None:
    """Let PyTorch use so many threads (None: its own choice), in this process."""
    if threads is not None:
        torch.set_num_threads(threads)
        if torch.get_num_threads() != threads:
            raise InputError(f"PyTorch uses {torch.get_num_threads()} threads, not the {threads} that were asked for")


def load(path: Path, options: Options = {}, device: str = "cpu") -> Loaded:  # noqa: B006
    """The module in a file, on a device; errors as for `open_session`."""
    if identify(path).name == "torchscript":
        return _script(path, options, device)
    if "shape" in options:
        raise InputError(f"{path}: its shapes stand in the file; leave the option shape out")
    return _program(path, device)


def prove_script(session: TorchSession, loaded: Loaded, batch: int) -> None:
    """Nothing, where items of a batch come out as alone; raises FixedBatch where not (a trace may hold its batch)."""

    def run(feed: Feed) -> list[np.ndarray]:
        return [t.numpy() for t in session.tensors([torch.from_numpy(v) for v in feed.values()])]

    prove(loaded.path.name, run, run, loaded.inputs, [spec.name for spec in loaded.outputs], 1, batch)


# ---- programs of torch.export -------------------------------------------------------------------------------------


def _program(path: Path, device: str) -> Loaded:
    _refuse_objects(path)
    try:
        with _no_pickles(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
    except Exception as error:  # whatever PyTorch raises for a damaged or foreign archive
        raise InputError(f"{path}: PyTorch cannot load it: {first_line(error)}") from error
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = [_node_spec(path, name, nodes[name].meta["val"]) for name in signature.user_inputs if name in nodes]
    values = {name: nodes[name].meta["val"] for name in signature.user_outputs if name in nodes}
    outputs = [_node_spec(path, name, v) for name, v in values.items() if isinstance(v, torch.Tensor)]
    if not inputs or not outputs:
        raise InputError(f"{path}: the program has no input or no output that is a tensor")
    return Loaded(
        path=path,
        module=_flat(program.module(check_guards=False), program.call_spec.in_spec, len(inputs)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        precision=precision.told(_operators(nodes.values()), otherwise=inputs[0].dtype),
        batches=_range(program, inputs),
    )


def _refuse_objects(path: Path) -> None:
    """Nothing, where the archive has no pickled objects: torch.export.load unpickles those whatever they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rsplit("/", 1)[-1] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: not a readable archive ({error}); copy or download it again") from error
    found = [name for name in names if name.startswith(_OBJECTS)]
    if found:
        raise InputError(f"{path}: holds pickled objects ({found[0]}), which loading it would run; refused")


@contextmanager
def _no_pickles() -> Iterator[None]:
    before = os.environ.get(_NO_PICKLES)
    os.environ[_NO_PICKLES] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_PICKLES]
        else:
            os.environ[_NO_PICKLES] = before


def _node_spec(path: Path, name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{path}: its input or output {name!r} is no tensor; export it with tensors only")
    shape = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
    return TensorSpec(name=name, shape=shape, dtype=_dtype(value.dtype))


def _flat(module: Callable[..., Any], spec: Any, count: int) -> Callable[..., Any]:
    """The module as a function of its tensors in a row, however its arguments are nested."""
    args, kwargs = pytree.tree_unflatten(list(range(count)), spec) if spec.num_leaves == count else ((), {})
    if tuple(args) == tuple(range(count)) and not kwargs:
        return module

    def nested(*tensors: torch.Tensor) -> Any:
        args, kwargs = pytree.tree_unflatten(list(tensors), spec)
        return module(*args, **kwargs)

    return nested


def _range(program: Any, inputs: Sequence[TensorSpec]) -> tuple[int, float]:
    """The least and the greatest batch size that the program was exported for."""
    free = {str(s.shape[0]) for s in inputs if s.shape and isinstance(s.shape[0], str)}
    known = [limits for symbol, limits in program.range_constraints.items() if str(symbol) in free]
    least = max((int(limits.lower) for limits in known), default=1)
    most = min((float(limits.upper) for limits in known), default=float("inf"))
    return max(1, least), most


def _filled(spec: TensorSpec, inputs: Sequence[TensorSpec], batch: int) -> TensorSpec:
    """An output with `batch` in place of the symbol that leads the inputs; other expressions stay as they are."""
    symbols = {s.shape[0] for s in inputs if s.shape}
    return replace(spec, shape=tuple(batch if d in symbols and isinstance(d, str) else d for d in spec.shape))


def _operators(nodes: Any) -> Counter[str]:
    """Precision -> how many operators with weights compute in it, told by the dtype of the weights."""
    found: Counter[str] = Counter()
    for node in nodes:
        name = getattr(node.target, "_opname", "") or str(getattr(node.target, "__name__", "")).split(".")[0]
        weight = node.args[1] if node.op == "call_function" and len(node.args) > 1 else None
        value = weight.meta.get("val") if isinstance(weight, torch.fx.Node) else None
        if name in _WEIGHTED and isinstance(value, torch.Tensor):
            found[_dtype(value.dtype)] += 1
    return found


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# ---- TorchScript --------------------------------------------------------------------------------------------------


def _script(path: Path, options: Options, device: str) -> Loaded:
    """Loading one unpickles nothing in Python: its program runs in PyTorch's interpreter, with PyTorch's operators."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and files of it are about
            module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path}: PyTorch cannot load it: {first_line(error)}") from error
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    inputs = tuple(
        TensorSpec(name=name, shape=("batch", *sizes), dtype="float32")
        for name, sizes in zip(names, _shapes(path, options, names), strict=True)
    )
    kinds = Counter(_dtype(p.dtype) for p in module.parameters() if p.ndim > 1)
    loaded = Loaded(path=path, module=module, inputs=inputs, outputs=(), precision=precision.told(kinds), proved=False)
    return replace(loaded, outputs=_tried(loaded, device))


def _shapes(path: Path, options: Options, names: Sequence[str]) -> list[tuple[int, ...]]:
    given = options.get("shape", "")
    try:
        shapes = [tuple(int(size) for size in part.split("x")) for part in given.split(",") if part]
    except ValueError:
        shapes = []
    if len(shapes) != len(names) or any(size < 1 for shape in shapes for size in shape):
        raise InputError(
            f"{path}: a TorchScript does not hold the sizes of its inputs ({', '.join(names)}); give those of one item "
            f"with the option shape=3x640x640, one for each input and commas between"
            + (f", not shape={given}" if given else "")
        )
    return shapes


def _tried(loaded: Loaded, device: str) -> tuple[TensorSpec, ...]:
    """The outputs of one item, their leading dimension named as the batch."""
    feed = random_feed(loaded.inputs, 1)
    session = TorchSession(loaded, device, {})
    try:
        got = session.tensors([torch.from_numpy(value) for value in feed.values()])
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1]
        raise InputError(f"{loaded.path}: it does not run with this shape: {why}") from error
    return tuple(
        TensorSpec(name=f"output{i}", shape=("batch", *tensor.shape[1:]), dtype=_dtype(tensor.dtype))
        for i, tensor in enumerate(got)
    )
