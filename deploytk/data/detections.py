"""What a model's outputs say: boxes, scores and classes, without torch (numpy; OpenCV for the suppression).

Four kinds of outputs ("heads") are read, each recognised by its shapes:

    decoded      (N, 4 + classes, anchors)    centre x, centre y, width, height in pixels, scores 0..1
    end-to-end   (N, boxes, 6)                x1, y1, x2, y2, score, class: suppressed inside the model
    maps         2 of (N, ...) per level      4 * bins distances to a box's sides, and the classes' logits
    classes      (N, classes)                 logits or probabilities

Thresholds are those of Ultralytics' predictor: a score above 0.25, an overlap of at most 0.7, at most 300 boxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Placed
from deploytk.errors import InputError

After = Literal["auto", "nms", "top-k", "none"]
AFTER: tuple[After, ...] = ("auto", "nms", "top-k", "none")
Head = Literal["decoded", "end-to-end", "maps", "classes"]

SCORE, OVERLAP, MOST_BOXES = 0.25, 0.7, 300
#: No more candidates are suppressed, the best ones (Ultralytics, max_nms).
_MOST_CANDIDATES = 30_000
#: The strides of the levels of a YOLO head: the usual three, and those with a finer or a coarser one.
_LEVELS = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64))
#: The sum of float32 (or float16) probabilities differs from 1 by rounding.
_SUM = 0.01


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The objects of one image, the most certain first."""

    boxes: np.ndarray  # (n, 4) float32: x1, y1, x2, y2 in pixels
    scores: np.ndarray  # (n,) float32, 0..1
    labels: np.ndarray  # (n,) int64: index of the class
    candidates: int  # boxes above the threshold, before the suppression: what its time depends on

    def first(self, most: int) -> Detections:
        """The most certain of them, at most so many."""
        if len(self.scores) <= most:
            return self
        return replace(self, boxes=self.boxes[:most], scores=self.scores[:most], labels=self.labels[:most])

    def on_image(self, placed: Placed, height: int, width: int) -> Detections:
        """The same objects in pixels of the image that was placed so; a side beyond its edge ends there."""
        corner = np.array([placed.left, placed.top] * 2, np.float32)
        scale = np.array([width / placed.width, height / placed.height] * 2, np.float32)
        limits = np.array([width, height] * 2, np.float32)
        return replace(self, boxes=np.clip((self.boxes - corner) * scale, 0, limits))


def head_of(outputs: Sequence[TensorSpec], size: tuple[int, int], after: After = "auto") -> Head | None:
    """What the outputs are, for inputs of `size` (height, width); None where nothing is to be done with them.

    Args:
        after: "auto" goes by the shapes alone; "nms" takes (N, 4 + classes, anchors) with any number of anchors.

    Raises:
        InputError: the outputs are none that can be read so; the message asks for --after.
    """
    if after == "none":
        return None
    found: Head | None = None
    if after in ("auto", "nms"):
        found = _detector_head(outputs, size, any_anchors=after == "nms")
    if found is None and after in ("auto", "top-k") and len(outputs) == 1 and _is_classes(outputs[0].shape):
        found = "classes"
    if found is None:
        shapes = "; ".join(f"{o.name} {list(o.shape)}" for o in outputs)
        if after == "auto":
            raise InputError(f"what the outputs mean cannot be told ({shapes}): say --after nms, top-k or none")
        reads = "(N, classes)"
        if after == "nms":
            reads = "(N, 4 + classes, anchors), (N, boxes, 6), or pairs of maps, one pair per level"
        raise InputError(f"--after {after} reads {reads}; the outputs are {shapes}: say --after none")
    return found


def class_count(outputs: Sequence[TensorSpec], head: Head, size: tuple[int, int]) -> int | None:
    """How many classes the outputs tell apart, for inputs of `size` (height, width); None where they do not say."""
    if head == "end-to-end":
        return None
    shape = outputs[0].shape
    if head == "maps":
        return _channels(outputs[1].shape, _are_last(outputs, size))[0]
    found = shape[1] if len(shape) > 1 else None
    if not isinstance(found, int):
        return None
    return found - 4 if head == "decoded" else found


def detections(
    outputs: Sequence[np.ndarray],
    specs: Sequence[TensorSpec],
    head: Head,
    size: tuple[int, int],
    *,
    score: float = SCORE,
    overlap: float = OVERLAP,
) -> list[Detections]:
    """The objects of each image of a batch, in pixels of the model's input of `size` (height, width).

    Args:
        outputs: in the order of `specs`, whose scale and zero point make real numbers of integers.
        score: only boxes with more than this.
        overlap: of two boxes of a class with a larger IoU than this, only the more certain one.
    """
    if head == "maps":
        images = range(len(outputs[0]))
        return [_suppressed(*_from_maps([o[i] for o in outputs], specs, size, score), overlap) for i in images]
    rows = reals(outputs[0], specs[0])
    if head == "end-to-end":
        return [_above(image, score) for image in rows]
    return [_suppressed(*_from_decoded(image, score), overlap) for image in rows]


def top_k(output: np.ndarray, spec: TensorSpec, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(classes (N, k) int64, their probabilities (N, k) float32), the most probable first.

    Outputs that are probabilities already are taken as they are, others go through a softmax. They are where each row
    lies in 0..1 and sums up to 1 within 0.01, or where the integers of a quantized output can mean nothing but 0..1:
    LiteRT quantizes every softmax so (scale 1/256), and the sum of a thousand roundings need not be near 1.
    """
    rows = reals(output, spec).reshape(len(output), -1)
    probabilities = rows if _are_probabilities(rows, output.dtype, spec) else _softmax(rows)
    order = np.array([_largest(row, k) for row in probabilities], np.int64).reshape(len(rows), -1)
    return order, np.take_along_axis(probabilities, order, 1)


def reals(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """float32 numbers; of integers with a scale, what they stand for."""
    if values.dtype.kind in "iu" and spec.scale is not None:
        return (values.astype(np.float32) - np.float32(spec.zero_point or 0)) * np.float32(spec.scale)
    return values.astype(np.float32, copy=False)


def _largest(row: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest values stand, the largest first; of equal ones the first. Thousands need no full sort."""
    kept = np.arange(len(row))
    if k < len(row):
        kept = np.flatnonzero(row >= np.partition(row, -k)[-k])
    return kept[np.argsort(-row[kept], kind="stable")][:k]


def _detector_head(outputs: Sequence[TensorSpec], size: tuple[int, int], *, any_anchors: bool) -> Head | None:
    if len(outputs) > 1:
        return "maps" if _are_maps([o.shape for o in outputs], size) else None
    shape = outputs[0].shape
    if len(shape) != 3:
        return None
    rows, columns = shape[1:]
    if columns == 6:
        return "end-to-end"
    if not isinstance(rows, int) or rows < 5 or not isinstance(columns, int):
        return None
    expected = {sum((size[0] // s) * (size[1] // s) for s in strides) for strides in _LEVELS}
    return "decoded" if columns in expected or (any_anchors and columns > rows) else None


def _are_maps(shapes: Sequence[tuple[int | str, ...]], size: tuple[int, int]) -> bool:
    """Whether these are pairs of a box map and a class map, each pair of one level, channels first or last."""
    if len(shapes) % 2 or any(len(s) != 4 for s in shapes):
        return False
    for channels_last in (False, True):
        split = [_channels(s, channels_last) for s in shapes]
        boxes, classes = split[0::2], split[1::2]
        levels = all(b[1] == c[1] and _is_level(b[1], size) for b, c in zip(boxes, classes, strict=True))
        depths = {b[0] for b in boxes}, {c[0] for c in classes}
        if levels and all(len(d) == 1 for d in depths) and boxes[0][0] % 4 == 0:
            return True
    return False


def _channels(shape: tuple[int | str, ...], last: bool) -> tuple[int, tuple[int, int]]:
    """(channels, (rows, columns)) of one map."""
    _, a, b, c = (d if isinstance(d, int) else 0 for d in shape)
    return (c, (a, b)) if last else (a, (b, c))


def _is_level(cells: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether the cells cover the input with one stride, a power of two from 4 to 64."""
    if not all(cells):
        return False
    strides = {side / cell for side, cell in zip(size, cells, strict=True)}
    return len(strides) == 1 and strides <= {4, 8, 16, 32, 64}


def _is_classes(shape: tuple[int | str, ...]) -> bool:
    """(N, classes), or (N, classes, 1, 1) as a fully convolutional classifier gives."""
    sides = shape[1:]
    return len(sides) in (1, 3) and isinstance(sides[0], int) and sides[0] >= 2 and all(d == 1 for d in sides[1:])


def _from_decoded(image: np.ndarray, score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(boxes as corners, scores, labels) above the threshold, of (4 + classes, anchors)."""
    kept = np.flatnonzero(image[4:].max(0) > score)
    scores, boxes = image[4:, kept], image[:4, kept]
    half = boxes[2:] / 2
    corners = np.concatenate([boxes[:2] - half, boxes[:2] + half]).T
    labels = scores.argmax(0)
    return corners, scores[labels, np.arange(len(kept))], labels


def _from_maps(
    maps: Sequence[np.ndarray], specs: Sequence[TensorSpec], size: tuple[int, int], score: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of one image's maps. Only cells above the threshold are decoded: the rest would be thrown away."""
    last = _are_last(specs, size)
    levels = []
    for at in range(0, len(maps), 2):
        levels.append(_from_level(maps[at : at + 2], specs[at : at + 2], size, score, last))
    boxes, scores, labels = zip(*levels, strict=True)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(labels)


def _are_last(specs: Sequence[TensorSpec], size: tuple[int, int]) -> bool:
    """Whether the channels of maps come last."""
    boxes, classes = (_channels(s.shape, True)[1] for s in specs[:2])
    return boxes == classes and _is_level(boxes, size)


def _from_level(
    maps: Sequence[np.ndarray], specs: Sequence[TensorSpec], size: tuple[int, int], score: float, last: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    distances, classes = (m if last else m.transpose(1, 2, 0) for m in maps)
    rows, columns = classes.shape[:2]
    logits = reals(classes.reshape(rows * columns, -1), specs[1])
    kept = np.flatnonzero(logits.max(1) > math.log(score / (1 - score)))
    sides = _sides(reals(distances.reshape(rows * columns, -1)[kept], specs[0]))
    centres = np.stack([kept % columns, kept // columns], 1) + np.float32(0.5)
    corners = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], 1)
    labels = logits[kept].argmax(1)
    scores = 1 / (1 + np.exp(-logits[kept, labels]))
    return (corners * np.float32(size[0] / rows)).astype(np.float32), scores, labels


def _sides(distances: np.ndarray) -> np.ndarray:
    """(n, 4): how far the sides are from the centre, in cells; each the mean of a distribution over the bins."""
    bins = distances.shape[1] // 4
    if bins == 1:
        return distances
    weights = _softmax(distances.reshape(-1, bins))
    sides: np.ndarray = (weights @ np.arange(bins, dtype=np.float32)).reshape(-1, 4)
    return sides


def _above(rows: np.ndarray, score: float) -> Detections:
    """Boxes of a head that has suppressed already."""
    kept = rows[rows[:, 4] > score]
    best = kept[np.argsort(-kept[:, 4], kind="stable")][:MOST_BOXES]
    return Detections(
        boxes=best[:, :4].copy(), scores=best[:, 4].copy(), labels=best[:, 5].astype(np.int64), candidates=len(kept)
    )


def _suppressed(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, overlap: float) -> Detections:
    """Non-maximum suppression class by class."""
    candidates = len(scores)
    if candidates > _MOST_CANDIDATES:
        best = np.argsort(-scores, kind="stable")[:_MOST_CANDIDATES]
        boxes, scores, labels = boxes[best], scores[best], labels[best]
    kept = _kept(boxes, scores, labels, overlap)[:MOST_BOXES]
    return Detections(boxes=boxes[kept], scores=scores[kept], labels=labels[kept], candidates=candidates)


def _kept(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, overlap: float) -> np.ndarray:
    """The indices of the boxes that stay, the most certain first."""
    if not len(scores):
        return np.empty(0, np.int64)
    dnn: Any = plugins.import_or_explain("cv2").dnn
    # OpenCV keeps classes apart by moving them by the largest coordinate, which needs coordinates from 0 on.
    places = boxes - boxes.min()
    places[:, 2:] -= places[:, :2]
    found = dnn.NMSBoxesBatched(places, scores, labels.astype(np.int32), 0.0, overlap)
    return np.asarray(found, np.int64).reshape(-1)


def _softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares


def _are_probabilities(rows: np.ndarray, dtype: np.dtype[Any], spec: TensorSpec) -> bool:
    if dtype.kind in "iu" and spec.scale is not None:
        ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], np.float64) - (spec.zero_point or 0)
        return bool(ends[0] == 0 and ends[1] * spec.scale <= 1)
    within = rows.min(initial=0.0) >= 0 and rows.max(initial=0.0) <= 1 + 1e-3
    return bool(within and (np.abs(rows.sum(1) - 1) <= _SUM).all())
