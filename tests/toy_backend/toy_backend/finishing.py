"""The end of a training: model.pt from the best checkpoint, and its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.artifact import versions_of
from deploytk.errors import TrainingFailed
from deploytk.files import written_whole
from deploytk.profile import Profile
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder
from toy_backend import network
from toy_backend.checks import data_fingerprint, data_seed


def finish_training(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """Write `run/model.pt`; the summary of the training."""
    wanted, folder = Profile.model_validate(profile), Folder(run=Path(run))
    shelf = Shelf(folder.checkpoints, wanted.keep)
    best = shelf.best
    if best is None:
        raise TrainingFailed("no epoch gave weights worth keeping")
    tensors = network.checkpoint_tensors(shelf.path(best))
    with written_whole(folder.run / "model.pt") as path:
        network.write(path, tensors)
    return {
        "name": wanted.name,
        "metrics": network.measured(tensors, *network.points(data_seed(wanted) + 1)),
        "best_epoch": best.epoch,
        "epochs": [{"epoch": e.epoch, **e.losses, **e.metrics} for e in shelf.entries],
        "model": wanted.model.model_dump(mode="json"),
        "training": wanted.train.model_dump(mode="json", include={"epochs", "imgsz", "batch", "optimizer", "seed"}),
        "data": {"fingerprint": data_fingerprint(wanted)},
        "versions": versions_of("deploytk", "numpy"),
        "findings": [],
    }
