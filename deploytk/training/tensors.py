"""The tensors in a checkpoint that torch wrote, without unpickling anything (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch


def sick(path: Path) -> list[str]:
    """The names of the tensors that hold NaN or infinity.

    Raises:
        Exception: the file is no checkpoint of tensors and plain values.
    """
    told = torch.load(path, map_location="cpu", weights_only=True)
    return [name for name, tensor in _named(told, "") if tensor.is_floating_point() and not tensor.isfinite().all()]


def _named(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _named(item, f"{name}[{number}]")
