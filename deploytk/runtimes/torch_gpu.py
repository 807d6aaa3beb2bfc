"""A PyTorch module on an NVIDIA GPU: a stream and a clock of its own, CUDA graphs and reduced precision as options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch as library
from torch.utils import _pytree as pytree

from deploytk.runtimes import Options, chosen, cuda
from deploytk.runtimes import torch as runtime

PRECISION = "file (default), float16 or bfloat16: what of the model gains by it is computed so (torch.autocast)"
_PRECISIONS: dict[str, str | None] = {"file": None, "float16": "float16", "bfloat16": "bfloat16"}
#: TorchScript looks at its first runs before it settles on kernels.
_WARM = 3


class CudaSession(runtime.TorchSession):
    """A module on the GPU: the Session protocol, with the device time of the last run."""

    def __init__(self, loaded: runtime.Loaded, details: Mapping[str, Any], *, graph: bool = False) -> None:
        known = {"device": library.cuda.get_device_name(), "graph": "on" if graph else "off", **details}
        known.setdefault("cuda", library.version.cuda)
        super().__init__(loaded, cuda.DEVICE, known)
        self._loaded, self._known = loaded, known
        self._stream, self._clock = library.cuda.Stream(), cuda.Clock()
        self._graph: Any = None
        self._given: list[library.Tensor] = []
        self._made: list[library.Tensor] = []
        if graph:
            self._given = [library.ones(spec.shape, dtype=_dtype(spec), device=cuda.DEVICE) for spec in loaded.inputs]
        library.cuda.synchronize()  # weights and memory came on another stream
        if graph:
            self._graph, self._made = cuda.captured(loaded.path, self._computed, self._stream, warm=_WARM)

    @property
    def last_ms(self) -> dict[str, float]:
        """`device`: how long the GPU took for the module in the last run, without the copies; empty before it."""
        return self._clock.last_ms

    def tensors(self, given: Sequence[library.Tensor]) -> list[library.Tensor]:
        """The tensors among the outputs, computed and on the CPU; the copies there and back are part of the call."""
        with library.inference_mode(), library.cuda.stream(self._stream):
            self._take(given)
            with self._clock.around(self._stream):
                if self._graph:
                    self._graph.replay()
                else:
                    self._made = self._computed()
            copied = [tensor.cpu() for tensor in self._made]
        self._stream.synchronize()
        return copied

    def another(self) -> Self:
        """The same module with a stream, a clock and a graph of its own."""
        return type(self)(self._loaded, self._known, graph=self._graph is not None)

    def _take(self, given: Sequence[library.Tensor]) -> None:
        """The inputs on the GPU: where a graph was captured, in the memory that it reads."""
        if self._graph is None:
            self._given = [tensor.to(cuda.DEVICE, non_blocking=True) for tensor in given]
            return
        for memory, tensor in zip(self._given, given, strict=True):
            memory.copy_(tensor, non_blocking=True)

    def _computed(self) -> list[library.Tensor]:
        with library.inference_mode():
            made = pytree.tree_leaves(self._module(*self._given))
        return [leaf for leaf in made if isinstance(leaf, library.Tensor)]


def precise(name: str, loaded: runtime.Loaded, options: Options) -> runtime.Loaded:
    """The same, computing in the precision that the option says; its outputs keep their types."""
    wanted = chosen(name, options, "precision", _PRECISIONS, "file")
    if wanted is None:
        tf32 = library.backends.cudnn.allow_tf32 and "float32" in loaded.precision
        return replace(loaded, precision=f"{loaded.precision}, convolutions in TF32") if tf32 else loaded
    module = autocast(loaded.module, wanted, [spec.dtype for spec in loaded.outputs], cuda.DEVICE)
    return replace(loaded, module=module, precision=f"{wanted} (autocast)")


def autocast(module: Callable[..., Any], precision: str, outputs: Sequence[str], device: str) -> Callable[..., Any]:
    """The module under autocast, its outputs in the types they have without it."""
    dtype = getattr(library, precision)
    types = [getattr(library, name) for name in outputs]

    def reduced(*tensors: library.Tensor) -> list[library.Tensor]:
        with library.autocast(device, dtype=dtype):
            made = module(*tensors)
        leaves = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, library.Tensor)]
        return [leaf.to(wanted) for leaf, wanted in zip(leaves, types, strict=True)]

    return reduced


def _dtype(spec: Any) -> library.dtype:
    dtype: library.dtype = getattr(library, spec.dtype)
    return dtype
