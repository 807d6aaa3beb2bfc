"""The values of the convolutions inside a torch module, and of the ReLUs on them, by the module's path (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from deploytk.graphs.layers import Layer
from deploytk.runtimes import Feed

#: Activations that a converter may take into the convolution before them, as ONNX calls them.
_FOLDED = {torch.nn.ReLU: "Relu", torch.nn.ReLU6: "Clip"}


class TorchLayers:
    """The convolutions of a module: `model.0.conv.Conv` is what an export calls `/model.0/conv/Conv`.

    A ReLU beside a convolution is a layer too (`model.0.act.Relu`), also where all share one module. A network with
    batch normalization has none: an export folds it into the convolutions, which then give other values.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        every = dict(module.named_modules(remove_duplicate=False))
        plain = not any(isinstance(m, torch.nn.BatchNorm2d) for m in every.values())
        found = {f"{path}.Conv": m for path, m in every.items() if isinstance(m, torch.nn.Conv2d)}
        self._convolutions = found if plain else {}
        folded = {p.rpartition(".")[0]: f"{p}.{_FOLDED[type(m)]}" for p, m in every.items() if type(m) in _FOLDED}
        self._activations = {m for m in every.values() if type(m) in _FOLDED}
        parents = {name: name.rpartition(".")[0].rpartition(".")[0] for name in self._convolutions}
        self._reader = {name: folded[parent] for name, parent in parents.items() if parent and parent in folded}
        self.layers = tuple(layer for name in self._convolutions for layer in self._both(name))

    def _both(self, name: str) -> Iterator[Layer]:
        """The layer of a convolution, and that of the ReLU on it."""
        reader = self._reader.get(name, "")
        yield Layer(name=name, op="Conv", reader=reader)
        if reader:
            yield Layer(name=reader, op="Relu", reads=(name,))

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted layers, by layer name."""
        values: dict[str, np.ndarray] = {}
        last: list[tuple[str, torch.Tensor]] = []

        def convolved(name: str) -> Any:
            def keep(_module: Any, _given: Any, made: torch.Tensor) -> None:
                values[name] = made.numpy().copy()
                last[:] = [(name, made)]

            return keep

        def activated(_module: Any, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
            if last and given[0] is last[0][1] and last[0][0] in self._reader:
                values[self._reader[last[0][0]]] = made.numpy().copy()

        hooks = [m.register_forward_hook(convolved(name)) for name, m in self._convolutions.items()]
        hooks += [m.register_forward_hook(activated) for m in self._activations]
        try:
            with torch.inference_mode():
                self._module(torch.from_numpy(np.ascontiguousarray(next(iter(feed.values())), dtype=np.float32)))
        finally:
            for hook in hooks:
                hook.remove()
        return {name: values[name] for name in wanted if name in values}
