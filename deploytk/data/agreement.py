"""How far the outputs of a converted model are from its source's: distances, top-1, boxes found again (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deploytk.data.detections import SCORE, Detections

#: Equal values have no noise at all; 200 dB is beyond what float32 can show.
EQUAL_DB = 200.0
#: The score above which a box is a partner of one above `SCORE`: rounding moves scores over any threshold.
PARTNER_SCORE = SCORE / 2
#: A class whose scores differ by less than this in the source tells nothing: it found nothing of that class.
_ALIVE = 0.05


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far values are from the expected ones, kept as sums: the distances of more values of a tensor add up."""

    values: int
    max_abs: float
    error: float  # the sum of |expected - got|
    noise: float  # the sum of (expected - got)^2
    signal: float  # the sum of expected^2
    power: float  # the sum of got^2
    product: float  # the sum of expected * got

    def __add__(self, other: Distance) -> Distance:
        sums = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Distance(**{**sums, "max_abs": max(self.max_abs, other.max_abs)})

    @property
    def mean_abs(self) -> float:
        """The mean of |expected - got|."""
        return self.error / self.values if self.values else 0.0

    @property
    def cosine(self) -> float:
        """The cosine between expected and got, 0 where one of them is all zeros and the other is not."""
        norms = math.sqrt(self.signal * self.power)
        return self.product / norms if norms else float(not self.noise)

    @property
    def sqnr_db(self) -> float:
        """The signal over the noise in dB: 200 where there is no noise, -200 where there is no signal."""
        if not self.noise:
            return EQUAL_DB
        return 10 * math.log10(self.signal / self.noise) if self.signal else -EQUAL_DB

    def as_dict(self) -> dict[str, float]:
        """The four numbers that a report shows."""
        return {name: getattr(self, name) for name in ("max_abs", "mean_abs", "cosine", "sqnr_db")}


@dataclass(frozen=True, kw_only=True)
class Match:
    """How many boxes have a partner of the same class in the other model's boxes; more images add up."""

    boxes: int
    iou50: int  # with a partner that overlaps by an IoU of 0.5 or more
    iou90: int
    overlap: float  # the sum of the IoUs of those with a partner

    def __add__(self, other: Match) -> Match:
        return Match(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def as_dict(self) -> dict[str, float | int | None]:
        """Boxes, the shares with a partner, and the mean IoU; None where there are no boxes."""
        told = {name: getattr(self, name) / self.boxes if self.boxes else None for name in ("iou50", "iou90")}
        return {"boxes": self.boxes, **told, "mean_iou": self.overlap / self.iou50 if self.iou50 else None}


def distance(expected: np.ndarray, got: np.ndarray) -> Distance:
    """How far `got` is from `expected`, arrays of one shape."""
    wanted, given = expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    error = np.abs(wanted - given)
    return Distance(
        values=wanted.size,
        max_abs=float(error.max(initial=0.0)),
        error=float(error.sum()),
        noise=float(error @ error),
        signal=float(wanted @ wanted),
        power=float(given @ given),
        product=float(wanted @ given),
    )


def wrong(expected: np.ndarray, got: np.ndarray) -> str:
    """Why `got` cannot be the output that `expected` is, whatever the precision; empty where it can."""
    if expected.shape != got.shape:
        return f"shape {got.shape} instead of {expected.shape}"
    if not np.isfinite(expected).all():
        return "the source model's own output holds NaN or infinity"
    if not np.isfinite(got).all():
        return "the output holds NaN or infinity"
    if got.size > 1 and got.min() == got.max() and expected.min() != expected.max():
        return (
            f"every value is {got.flat[0]:g} where the source's go from {expected.min():.4g} to {expected.max():.4g}: "
            "the output has collapsed"
        )
    return ""


def parts(output: np.ndarray) -> Mapping[str, np.ndarray]:
    """Boxes and scores of a decoded output (N, 4 + classes, anchors): boxes, in pixels, would hide the scores."""
    return {"boxes": output[:, :4], "scores": output[:, 4:]}


def collapsed(expected: np.ndarray, got: np.ndarray) -> str:
    """Which classes of decoded scores (N, classes, anchors) have one value only where the source's vary, or empty."""
    spans = [scores.max((0, 2)) - scores.min((0, 2)) for scores in (expected, got)]
    lost = np.flatnonzero((spans[0] > _ALIVE) & (spans[1] == 0))
    if not len(lost):
        return ""
    return f"all scores of class {', '.join(map(str, lost))} are equal where the source's differ: it has collapsed"


def decoded(expected: np.ndarray, got: np.ndarray) -> dict[str, Any]:
    """`boxes` and `scores` of decoded outputs (N, 4 + classes, anchors), each as `Distance.as_dict`; or `error`."""
    told = wrong(expected, got)
    if told:
        return {"error": told}
    wanted, given = parts(expected), parts(got)
    told = wrong(wanted["scores"], given["scores"]) or collapsed(wanted["scores"], given["scores"])
    return {"error": told} if told else {name: distance(wanted[name], given[name]).as_dict() for name in wanted}


def top1(expected: np.ndarray, got: np.ndarray) -> int:
    """In how many rows of (N, classes) the largest value stands at the same place."""
    wanted, given = (values.reshape(len(values), -1).argmax(1) for values in (expected, got))
    return int((wanted == given).sum())


def match(boxes: Sequence[Detections], others: Sequence[Detections]) -> Match:
    """How many of the boxes with a score above 0.25 have a partner in the other boxes of the same image.

    Args:
        boxes, others: image by image, with scores down to `PARTNER_SCORE`.
    """
    total = Match(boxes=0, iou50=0, iou90=0, overlap=0.0)
    for mine, theirs in zip(boxes, others, strict=True):
        total += _matched(mine, theirs)
    return total


def _matched(mine: Detections, theirs: Detections) -> Match:
    """The most certain box takes the partner it overlaps most with, then the next; each partner once."""
    sure = mine.scores > SCORE
    overlaps = iou(mine.boxes[sure], theirs.boxes)
    overlaps[mine.labels[sure][:, None] != theirs.labels[None]] = 0.0
    best = []
    for row in range(len(overlaps)):
        found = int(overlaps[row].argmax()) if overlaps.shape[1] else -1
        best.append(overlaps[row, found] if found >= 0 else 0.0)
        if best[-1] >= 0.5:
            overlaps[:, found] = 0.0
    shares = np.array(best)
    kept = shares[shares >= 0.5]
    return Match(boxes=len(best), iou50=len(kept), iou90=int((kept >= 0.9).sum()), overlap=float(kept.sum()))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(len(a), len(b)): intersection over union of boxes x1, y1, x2, y2."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    overlaps: np.ndarray = shared / np.maximum(union, np.finfo(np.float32).tiny)
    return overlaps
