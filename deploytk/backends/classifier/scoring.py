"""How often any predictor recognises the images of the validation split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.backends.classifier import checkpoint as checkpoints
from deploytk.backends.classifier.checks import dataset
from deploytk.backends.classifier.inference import preparation
from deploytk.errors import InputError, ParityFailed
from deploytk.profile import Profile

Predict = Callable[[np.ndarray], np.ndarray]

_BATCH = 16
_TOP = 5


def score(predict: Predict, profile: dict[str, Any], checkpoint: Path, run: str | Path) -> dict[str, float]:  # noqa: ARG001
    """top1 and top5 of `predict` (NCHW float32, prepared -> logits (N, classes)) on the validation split, 0..1.

    Raises:
        InputError: the dataset's classes are not the checkpoint's.
        ParityFailed: the predictions have another shape, or are not finite.
    """
    wanted = Profile.model_validate(profile)
    data, names = dataset(wanted), checkpoints.payload(Path(checkpoint))["names"]
    if tuple(names) != data.classes:
        raise InputError(f"{checkpoint}: was trained on {_few(names)}, the dataset has {_few(data.classes)}")
    how, val = preparation(checkpoint, wanted.train.imgsz), data.splits["val"]
    right = among = 0
    for start in range(0, len(val), _BATCH):
        chunk = val[start : start + _BATCH]
        inputs = np.concatenate([picture.prepared(how) for picture in chunk])
        best = _best(predict(inputs), len(chunk), len(names))
        hits = best == np.array([p.label for p in chunk])[:, None]
        right, among = right + int(hits[:, 0].sum()), among + int(hits.sum())
    return {"top1": right / len(val), "top5": among / len(val)}


def _best(predicted: np.ndarray, images: int, classes: int) -> np.ndarray:
    """(images, up to 5): the classes with the largest logits; of equal ones (INT8 has many) the first."""
    logits = np.asarray(predicted, dtype=np.float32)
    if logits.shape != (images, classes):
        raise ParityFailed(f"predictions of shape {logits.shape} instead of ({images}, {classes})")
    if not np.isfinite(logits).all():
        raise ParityFailed("the predictions hold NaN or infinity")
    return np.argsort(-logits, axis=1, kind="stable")[:, :_TOP]


def _few(names: Any) -> str:
    shown = ", ".join(list(names)[:_TOP])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > _TOP else ''})"
