"""The task metrics of any predictor on the validation split, with Ultralytics' own suppression and mAP (torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploytk.backends.ultralytics import checkpoint as checkpoints
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.library import DetectionValidator, DetMetrics, box_iou, non_max_suppression
from deploytk.data import samples as images
from deploytk.data.dataset import Sample
from deploytk.errors import InputError, ParityFailed

Predict = Callable[[np.ndarray], np.ndarray]

#: The settings of Ultralytics' validation.
_CONFIDENCE, _IOU, _MOST = 0.001, 0.7, 300
_BATCH = 8
#: Its suppression gives up after 2 s a batch by default; a score must not depend on how busy the machine is.
_UNHURRIED_S = 1e6


def score(predict: Predict, profile: dict[str, Any], checkpoint: Path, run: str | Path) -> dict[str, float]:
    """mAP50, mAP50_95, precision and recall of `predict` (NCHW float32 0..1 -> (N, 4 + nc, anchors)), all 0..1.

    Raises:
        InputError: the dataset's classes are not the checkpoint's.
        ParityFailed: the predictions have another shape, or are not finite.
    """
    told, view, size = checkpoints.payload(checkpoint), view_of(profile, run), profile["train"]["imgsz"]
    if tuple(told["names"]) != view.data.classes:
        raise InputError(f"{checkpoint}: was trained on {told['names']}, the dataset has {list(view.data.classes)}")
    return measured(predict, view.data.splits["val"], told["names"], size, view.folder)


def measured(
    predict: Predict, samples: Sequence[Sample], names: Sequence[str], size: int, folder: Path
) -> dict[str, float]:
    """The same of any images, at an input size of `size` pixels.

    Args:
        folder: where the library may write.
    """
    most = max(_MOST, *(len(s.boxes) for s in samples))
    metrics = DetMetrics(names=dict(enumerate(names)))
    matcher = DetectionValidator(save_dir=folder, args={"task": "detect", "plots": False, "imgsz": size})
    for number, (found, truth) in enumerate(_results(predict, samples, len(names), size, most)):
        metrics.update_stats(_outcome(matcher, found, truth, str(number)))
    metrics.process(save_dir=folder, plot=False)
    precision, recall, map50, map95 = (float(v) for v in metrics.mean_results())
    return {"mAP50": map50, "mAP50_95": map95, "precision": precision, "recall": recall}


def _results(
    predict: Predict, samples: Sequence[Sample], nc: int, size: int, most: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Per image: what was found (x1 y1 x2 y2 confidence class) and what is there (class x1 y1 x2 y2), in pixels."""
    for start in range(0, len(samples), _BATCH):
        chunk = samples[start : start + _BATCH]
        loaded = [images.tensor(s.image, size) for s in chunk]
        decoded = _predicted(predict, np.concatenate([tensor for tensor, _ in loaded]), nc)
        found = non_max_suppression(
            decoded, _CONFIDENCE, _IOU, multi_label=True, max_det=most, max_time_img=_UNHURRIED_S
        )
        for kept, sample, (_, placed) in zip(found, chunk, loaded, strict=True):
            yield kept, _truth(sample, placed)


def _predicted(predict: Predict, batch: np.ndarray, nc: int) -> torch.Tensor:
    decoded = np.asarray(predict(batch), dtype=np.float32)
    if decoded.ndim != 3 or decoded.shape[:2] != (len(batch), 4 + nc):
        raise ParityFailed(f"predictions of shape {decoded.shape} instead of ({len(batch)}, {4 + nc}, anchors)")
    if not np.isfinite(decoded).all():
        raise ParityFailed("the predictions hold NaN or infinity")
    return torch.from_numpy(np.array(decoded))


def _truth(sample: Sample, placed: images.Placed) -> torch.Tensor:
    rows = []
    for box in sample.boxes:
        x, y = placed.left + box.x * placed.width, placed.top + box.y * placed.height
        w, h = box.w * placed.width, box.h * placed.height
        rows.append([float(box.label), x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def _outcome(matcher: Any, found: torch.Tensor, truth: torch.Tensor, name: str) -> dict[str, Any]:
    """One image's statistics, as DetMetrics takes them: true positives at ten IoU thresholds."""
    right = np.zeros((len(found), matcher.niou), dtype=bool)
    if len(found) and len(truth):
        overlap = box_iou(truth[:, 1:], found[:, :4])
        right = matcher.match_predictions(found[:, 5], truth[:, 0], overlap).numpy()
    labels = truth[:, 0].numpy()
    return {
        "tp": right,
        "conf": found[:, 4].numpy(),
        "pred_cls": found[:, 5].numpy(),
        "target_cls": labels,
        "target_img": np.unique(labels),
        "im_name": name,
    }
