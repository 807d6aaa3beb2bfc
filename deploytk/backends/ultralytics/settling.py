"""Training images, augmented as in training, from which batch-norm statistics are taken anew (torch)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from deploytk.backends.ultralytics import training
from deploytk.backends.ultralytics.library import build_yolo_dataset, get_cfg
from deploytk.data.view import View
from deploytk.profile import Profile
from deploytk.training.segments import first

_BATCH = 8
_STRIDE = 32


def batches(wanted: Profile, folder: Path, view: View, *, count: int, seed: int) -> list[torch.Tensor]:
    """`count` training images as batches (N, 3, S, S) float32 0..1, the same for a seed; few are drawn several times.

    Augmented, with mosaics only where the last epochs have them: statistics of plain training images cost a converged
    detector 0.04 mAP50-95 (docs/crossover.md).
    """
    mosaic = 0.0 if wanted.train.close_mosaic else wanted.train.mosaic
    settings = get_cfg(overrides={**training.overrides(wanted, folder, view, first(wanted)), "mosaic": mosaic})
    told = {"names": dict(enumerate(view.data.classes)), "nc": len(view.data.classes), "channels": 3}
    # Before the dataset is made: it draws too.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    where = str(view.folder / "images" / "train")
    dataset = build_yolo_dataset(settings, where, _BATCH, told, mode="train", rect=False, stride=_STRIDE)
    order = random.sample(range(len(dataset)), len(dataset))
    chosen = [order[i % len(order)] for i in range(count)]
    return [_batch(dataset, chosen[start : start + _BATCH]) for start in range(0, count, _BATCH)]


def _batch(dataset: object, indices: list[int]) -> torch.Tensor:
    return torch.stack([dataset[i]["img"] for i in indices]).float() / 255  # type: ignore[index]
