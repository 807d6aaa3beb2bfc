"""How right answers are on labelled images, and whether one system's are better than another's on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploytk.data.detections import Detections
from deploytk.pipelines.accuracy import taken

#: Times that the images are drawn again, with replacement.
RESAMPLED = 1000
_TAIL = 0.025  # on each side of a 95 % interval
_SEED = 0

#: The score, 0..1, where each image counts so many times; NaN where the drawn ones have nothing to find.
Measure = Callable[[np.ndarray], float]


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is in one image."""

    boxes: np.ndarray  # (m, 4) float32: x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (m,) int64


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One class over all images: its boxes, the most certain first, and its objects."""

    image: np.ndarray  # (boxes,) which image each is in
    right: np.ndarray  # (boxes,) whether it takes an object
    objects: np.ndarray  # (images,) how many there are

    def precision(self, counts: np.ndarray) -> float:
        """The average precision as `pipelines.accuracy`, NaN without objects."""
        objects = float(self.objects @ counts)
        if not objects:
            return float("nan")
        times = counts[self.image]
        hits = times * self.right
        precision = np.cumsum(hits) / np.maximum(np.cumsum(times), 1)
        best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
        return float(best_from_here @ hits / objects)


def mean_precision(found: Sequence[Detections], truth: Sequence[Objects]) -> Measure:
    """mAP50: the mean over the classes that have objects; matches as in `pipelines.accuracy`, class by class."""
    labels = np.unique(np.concatenate([np.empty(0, np.int64), *(one.labels for one in truth)]))
    curves = [_curve(int(label), found, truth) for label in labels]

    def measure(counts: np.ndarray) -> float:
        each = np.array([curve.precision(counts) for curve in curves])
        each = each[~np.isnan(each)]
        return float(each.mean()) if len(each) else float("nan")

    return measure


def _curve(label: int, found: Sequence[Detections], truth: Sequence[Objects]) -> _Curve:
    image, scores, right, objects = [], [], [], []
    for number, (said, there) in enumerate(zip(found, truth, strict=True)):
        mine, theirs = said.labels == label, there.labels == label
        objects.append(int(theirs.sum()))
        image.append(np.full(int(mine.sum()), number))
        scores.append(said.scores[mine])
        right.append(taken(said.boxes[mine], said.scores[mine], there.boxes[theirs]) >= 0)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _Curve(
        image=np.concatenate(image)[order], right=np.concatenate(right)[order], objects=np.array(objects, np.float64)
    )


def top1(probabilities: np.ndarray, truth: np.ndarray) -> Measure:
    """The share of samples whose most probable class is theirs."""
    right = (probabilities.argmax(1) == truth).astype(np.float64)
    return lambda counts: float(right @ counts / counts.sum())


def difference(ours: Measure, theirs: Measure, samples: int) -> dict[str, Any]:
    """How far `ours` is above `theirs`: mean, low and high of the paired bootstrap's 95 % interval, and a word.

    The same images are drawn for both, `RESAMPLED` times (percentiles; the same for the same answers).
    """
    every = np.ones(samples)
    chance = np.random.default_rng(_SEED)
    draws = (np.bincount(chance.integers(0, samples, samples), minlength=samples) for _ in range(RESAMPLED))
    apart = np.array([ours(counts) - theirs(counts) for counts in draws])
    low, high = (float(limit) for limit in np.nanquantile(apart, (_TAIL, 1 - _TAIL)))
    told = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return {"mean": ours(every) - theirs(every), "low": low, "high": high, "told": told, "resampled": RESAMPLED}
