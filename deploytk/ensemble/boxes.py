"""Weighted boxes fusion: the boxes that several detectors found in one image, as one (numpy only).

R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: ensembling boxes from different object detection models",
arXiv 1910.13302. Unlike a suppression, it makes each box of all that were found for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deploytk.data.agreement import iou
from deploytk.data.detections import Detections
from deploytk.errors import InputError

#: Of the paper: a box belongs to a cluster whose fused box it overlaps more than this.
OVERLAP = 0.55


def fused(
    found: Sequence[Detections], *, weights: Sequence[float] | None = None, overlap: float = OVERLAP
) -> Detections:
    """The objects of one image, of what each model found in it; the most certain first, whatever the models' order.

    A fused box is the mean of its cluster's boxes and its score the mean of their scores, both weighted. The score of a
    cluster that not every model is in is that much smaller: by the share of the weights of its boxes in those of all
    models, which is boxes / models where no weights are given. A model with several boxes in a cluster counts with
    each, at most up to 1.

    Args:
        found: of each model, boxes in the same pixels.
        weights: of each model, by default equal.
        overlap: of one class, boxes with a larger IoU than this are of one object.

    Raises:
        InputError: not one weight above 0 per model.
    """
    shares = model_weights(weights, len(found))
    if not found:
        return _as_detections([], 0)
    rows = np.concatenate([_rows(one, share) for one, share in zip(found, shares, strict=True)])
    each = [_clusters(rows[rows[:, _LABEL] == label], overlap) for label in np.unique(rows[:, _LABEL])]
    return _as_detections(each, len(rows))


def model_weights(weights: Sequence[float] | None, models: int) -> np.ndarray:
    """(models,): the weights, which sum up to 1.

    Raises:
        InputError: not one weight above 0 per model.
    """
    given = np.ones(models) if weights is None else np.asarray(weights, np.float64)
    if len(given) != models:
        raise InputError(f"{len(given)} weights for {models} models; give one for each, in their order")
    if not all(math.isfinite(w) and w > 0 for w in given):
        raise InputError(f"weights must be numbers above 0: {', '.join(f'{w:g}' for w in given)}")
    shares: np.ndarray = given / max(given.sum(), np.finfo(np.float64).tiny)
    return shares


#: The columns of a box beside its corners.
_SCORE, _SHARE, _LABEL = 4, 5, 6
#: A box with the score 0 still has a place.
_CERTAIN = 1e-12


def _rows(one: Detections, share: float) -> np.ndarray:
    """(n, 7) float64: corners, score, share of the model, class."""
    columns = (one.boxes.reshape(-1, 4), one.scores[:, None], np.full((len(one.scores), 1), share), one.labels[:, None])
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _clusters(rows: np.ndarray, overlap: float) -> np.ndarray:
    """(clusters, 6): corners, score and class of the objects of one class.

    Each box, the most certain first, goes to the cluster that it overlaps most.
    """
    # Of equally certain boxes the coordinates decide, not the order of the models.
    order = np.lexsort((*rows[:, :4].T, rows[:, _SCORE], -rows[:, _SCORE] * rows[:, _SHARE]))
    boxes = np.empty((len(rows), 4))
    sums = np.zeros((len(rows), 7))  # of a cluster's boxes: weighted corners, these weights, weighted scores, shares
    count = 0
    for row in rows[order]:
        shared = iou(row[None, :4], boxes[:count])[0]
        at = int(shared.argmax()) if count and shared.max() > overlap else count
        count = max(count, at + 1)
        share = row[_SHARE]
        certain = max(row[_SCORE], _CERTAIN) * share
        sums[at] += (*(row[:4] * certain), certain, row[_SCORE] * share, share)
        boxes[at] = sums[at, :4] / sums[at, 4]
    scores = sums[:count, 5] / sums[:count, 6] * np.minimum(sums[:count, 6], 1.0)
    return np.concatenate([boxes[:count], scores[:, None], np.full((count, 1), rows[0, _LABEL])], axis=1)


def _as_detections(rows: list[np.ndarray], candidates: int) -> Detections:
    table = np.concatenate([np.empty((0, 6)), *rows])
    table = table[np.lexsort((*table[:, :4].T, table[:, 5], -table[:, 4]))]
    return Detections(
        boxes=table[:, :4].astype(np.float32),
        scores=table[:, 4].astype(np.float32),
        labels=table[:, 5].astype(np.int64),
        candidates=candidates,
    )
