"""The values of the convolutions inside a torch module, by the module's path (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from deploytk.graphs.layers import Layer
from deploytk.runtimes import Feed


class TorchLayers:
    """The convolutions of a module: `model.0.conv.Conv` is what an export calls `/model.0/conv/Conv`."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        found = {f"{path}.Conv": m for path, m in module.named_modules() if isinstance(m, torch.nn.Conv2d)}
        self._convolutions = found
        self.layers = tuple(Layer(name=name, op="Conv") for name in found)

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted convolutions, by layer name."""
        values: dict[str, np.ndarray] = {}

        def keep(name: str) -> Any:
            return lambda _module, _given, made: values.__setitem__(name, made.numpy().copy())

        hooks = [self._convolutions[name].register_forward_hook(keep(name)) for name in wanted]
        try:
            with torch.inference_mode():
                self._module(torch.from_numpy(np.ascontiguousarray(next(iter(feed.values())), dtype=np.float32)))
        finally:
            for hook in hooks:
                hook.remove()
        return values
