"""The checkpoint of an epoch: tensors and plain values, from which a training goes on exactly as it was (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deploytk.backends.ultralytics.library import unwrap_model

#: What of an optimizer's groups the segment decides, not the checkpoint.
_SEGMENTS_OWN = ("lr", "initial_lr", "weight_decay", "fused")


def save(trainer: Any, path: Path) -> None:
    """Write the state of a training after an epoch: network, moving average, optimizer, scaler."""
    told = {
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "ema_updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "epoch": trainer.epoch + 1,
    }
    torch.save(told, path)


def restore(trainer: Any, path: Path) -> None:
    """Put a training into the state that `path` holds; learning rates and weight decay stay those of the segment."""
    told = load(path)
    unwrap_model(trainer.model).load_state_dict(told["model"])
    trainer.ema.ema.load_state_dict(told["ema"])
    trainer.ema.updates = told["ema_updates"]
    for saved, group in zip(told["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
        saved.update({name: group.get(name) for name in _SEGMENTS_OWN})
    trainer.optimizer.load_state_dict(told["optimizer"])
    if told["scaler"] and trainer.scaler.is_enabled():
        trainer.scaler.load_state_dict(told["scaler"])


def load(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU; nothing is unpickled."""
    told: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return told
