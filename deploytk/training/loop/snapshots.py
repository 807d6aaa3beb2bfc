"""The checkpoint of an epoch: tensors and plain values, from which a training goes on exactly as it was (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

#: What of an optimizer's groups the segment decides, not the checkpoint.
_SEGMENTS_OWN = ("lr", "initial_lr", "weight_decay", "fused", "share")


class Scaler(Protocol):
    """A GradScaler, or what takes its place."""

    def state_dict(self) -> dict[str, Any]:
        """Its state; empty where it is not in use."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""

    def is_enabled(self) -> bool:
        """Whether it is in use."""


def save(
    path: Path,
    *,
    model: nn.Module,
    average: nn.Module,
    updates: int,
    optimizer: torch.optim.Optimizer,
    scaler: Scaler,
    epoch: int,
) -> None:
    """Write the state of a training after an epoch (counted from 1): network, moving average, optimizer, scaler."""
    told = {
        "model": model.state_dict(),
        "ema": average.state_dict(),
        "ema_updates": updates,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "epoch": epoch,
    }
    torch.save(told, path)


def restore(
    path: Path, *, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, scaler: Scaler
) -> int:
    """Put a training into the state that `path` holds; learning rates and weight decay stay those of the segment.

    Returns:
        How often the average had been updated.
    """
    told = load(path)
    model.load_state_dict(told["model"])
    average.load_state_dict(told["ema"])
    for saved, group in zip(told["optimizer"]["param_groups"], optimizer.param_groups, strict=True):
        saved.update({name: group.get(name) for name in _SEGMENTS_OWN})
    optimizer.load_state_dict(told["optimizer"])
    if told["scaler"] and scaler.is_enabled():
        scaler.load_state_dict(told["scaler"])
    return int(told["ema_updates"])


def load(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU; nothing is unpickled."""
    told: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return told
