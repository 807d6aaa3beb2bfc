"""What the end of every backend's training has in common: the best checkpoint, alive, and the summary (torch)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from deploytk.errors import TrainingFailed
from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.training import tensors
from deploytk.training.shelf import Entry, Shelf

_ADVICE = "lower lr0 ten times, or raise warmup_epochs"


def require_best(shelf: Shelf) -> Entry:
    """The epoch whose weights become the model.

    Raises:
        TrainingFailed: there is none.
    """
    if shelf.best is None:
        raise TrainingFailed(f"no epoch gave weights worth keeping; {_ADVICE}")
    return shelf.best


def refuse_dead(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Nothing, where the weights are alive: finite, and not zero throughout, which is what NaN is saved as.

    Raises:
        TrainingFailed: they are not.
    """
    sick, dead = tensors.looked_at(state)
    if sick or dead:
        named = (*sick, *dead)
        raise TrainingFailed(
            f"training diverged: {len(named)} of {len(state)} tensors of {where} are NaN or all zero "
            f"(first: {named[0]}); {_ADVICE}",
            reasons=named,
        )


def settings(wanted: Profile, shelf: Shelf) -> dict[str, Any]:
    """What the last epoch was really trained with."""
    last, train = shelf.entries[-1], wanted.train
    return {
        "epochs": train.epochs,
        "imgsz": train.imgsz,
        "batch": last.facts["batch"],
        "effective_batch": last.facts["batch"] * last.facts["accumulate"],
        "optimizer": last.facts["optimizer"],
        "lr0": last.facts["lr0"],
        "seed": train.seed,
        "device": last.facts["device"],
        "amp": last.facts["precision"],
        "stopped_early": len(shelf.entries) < train.epochs,
    }


def findings(wanted: Profile, shelf: Shelf) -> list[Finding]:
    """A warning where memory has made the batch smaller than the profile's."""
    batch = shelf.entries[-1].facts["batch"]
    if batch == wanted.train.batch:
        return []
    message = f"out of memory: the batch was reduced from {wanted.train.batch} to {batch}"
    fix = "set it in the profile, so that runs can be compared"
    return [Finding(rule="TRN003", severity="warning", where="train.batch", message=message, fix=fix)]
