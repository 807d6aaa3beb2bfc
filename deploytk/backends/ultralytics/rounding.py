"""Convolutions that round as INT8 ones do, so that a training learns to live with it (torch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from torch import nn

Feeds = Callable[[], Iterator[np.ndarray]]

#: Weights of 7 bits: the coarser of the two grids that targets use (ONNX Runtime on a CPU without VNNI).
_LARGEST_WEIGHT, _LARGEST_ACTIVATION = 63, 255


class RoundingConv(nn.Conv2d):  # type: ignore[misc, unused-ignore]
    """A convolution whose input and weights are rounded; gradients pass through the rounding as if it were not there.

    Weights have one scale per output channel, so a BatchNorm behind them, folded or not, changes nothing about it.
    """

    low, high = math.inf, -math.inf  # what its inputs lay between when they were watched
    watching = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The output in INT8's rounding; in float, and the extremes of the input noted, while it is watching."""
        if not self.watching:
            return self._conv_forward(self._rounded(images), _rounded_weights(self.weight), self.bias)
        self.low, self.high = min(self.low, float(images.min())), max(self.high, float(images.max()))
        return super().forward(images)

    def _rounded(self, images: torch.Tensor) -> torch.Tensor:
        # Zero is always a step of the grid: it is what the padding holds.
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        step = max(high - low, 1e-9) / _LARGEST_ACTIVATION
        return torch.fake_quantize_per_tensor_affine(images, step, round(-low / step), 0, _LARGEST_ACTIVATION)


def _rounded_weights(weights: torch.Tensor) -> torch.Tensor:
    steps = weights.detach().abs().amax((1, 2, 3)).clamp(min=1e-9) / _LARGEST_WEIGHT
    zeros = torch.zeros_like(steps, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, steps, zeros, 0, -_LARGEST_WEIGHT, _LARGEST_WEIGHT)


def insert(model: nn.Module, float_nodes: Collection[str]) -> int:
    """How many convolutions of `model` round from now on: those that learn, without those of `float_nodes`.

    Args:
        float_nodes: names of nodes of the exported ONNX; those that are no convolutions change nothing.
    """
    kept = {module_of(node) for node in float_nodes}
    # The one convolution that does not learn sums the box distribution: a part of the decoding.
    found = [
        module
        for name, module in model.named_modules()
        if type(module) is nn.Conv2d and module.weight.requires_grad and name not in kept
    ]
    for module in found:
        module.__class__ = RoundingConv
    return len(found)


def remove(model: nn.Module) -> None:
    """Make all convolutions of `model` plain ones again; what they have learned stays."""
    for module in _rounding(model).values():
        module.__class__ = nn.Conv2d


def calibrate(model: nn.Module, feeds: Feeds, *others: nn.Module) -> None:
    """Set the ranges of the inputs to what the float network has on the calibration images, as the target will.

    Args:
        model: in eval mode.
        others: networks of the same modules, which get the same ranges.
    """
    convs = _rounding(model)
    device = next(model.parameters()).device
    for conv in convs.values():
        conv.watching, conv.low, conv.high = True, math.inf, -math.inf
    with torch.no_grad():
        for feed in feeds():
            model(torch.from_numpy(feed).to(device))
    for name, conv in convs.items():
        conv.watching = False
        for other in others:
            twin = other.get_submodule(name)
            twin.low, twin.high = conv.low, conv.high


def module_of(node: str) -> str:
    """The module that a node of the ONNX comes from: `/model.22/cv3.0/cv3.0.2/Conv` -> `model.22.cv3.0.2`."""
    path: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if path and part.startswith(f"{path[-1]}."):  # a list of modules repeats its name in those of its members
            path.pop()
        path.append(part)
    return ".".join(path)


def _rounding(model: nn.Module) -> dict[str, RoundingConv]:
    return {name: module for name, module in model.named_modules() if isinstance(module, RoundingConv)}
