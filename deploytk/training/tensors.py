"""Whether tensors are alive: in a checkpoint, without unpickling anything, and in a network in training (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: What has become zero throughout was NaN (that is how libraries save it), or has died: no gradient brings it back.
_NEVER_ZERO = ("conv.weight", "running_var")


def sick(path: Path) -> list[str]:
    """The names of the tensors of a checkpoint that hold NaN or infinity.

    Raises:
        Exception: the file is no checkpoint of tensors and plain values.
    """
    told = torch.load(path, map_location="cpu", weights_only=True)
    return looked_at(dict(_named(told, "")))[0]


def looked_at(tensors: Mapping[str, torch.Tensor]) -> tuple[list[str], list[str]]:
    """(those with NaN or infinity, those that are all zero and must not be), by name; buffers are tensors too."""
    named = [(name, t) for name, t in tensors.items() if t.is_floating_point() and t.numel()]
    if not named:
        return [], []
    # One number for each tensor and one transfer for all: asking each costs a wait on a GPU.
    largest = torch.stack([t.detach().abs().amax().float() for _, t in named]).cpu()
    finite, alive = largest.isfinite().tolist(), (largest != 0).tolist()
    broken = [name for (name, _), good in zip(named, finite, strict=True) if not good]
    dead = [name for (name, _), good in zip(named, alive, strict=True) if not good and name.endswith(_NEVER_ZERO)]
    return broken, dead


def _named(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _named(item, f"{name}[{number}]")


def as_bytes(path: Path) -> dict[str, np.ndarray]:
    """The bytes of each tensor in a checkpoint; its type and shape stand in its name (numpy has no bfloat16).

    Raises:
        Exception: the file is no checkpoint of tensors and plain values.
    """
    told = torch.load(path, map_location="cpu", weights_only=True)
    return {
        f"{name} {tensor.dtype} {tuple(tensor.shape)}": tensor.contiguous().view(-1).view(torch.uint8).numpy()
        for name, tensor in _named(told, "")
    }
