"""A pipeline that runs: decode -> letterbox -> detector -> NMS -> crops -> classifier -> most probable names.

Crops are cut out of the decoded image itself, not out of the detector's small input, and prepared straight into one
array that is made once. The clock of each stage begins in the instant in which the one before ends, so that the stages
of a call sum up to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeVar

import numpy as np

from deploytk import usage
from deploytk.data.detections import Detections, Head, detections, head_of, top_k
from deploytk.data.preparation import decode
from deploytk.errors import InputError
from deploytk.pipelines import description as descriptions
from deploytk.pipelines.description import Described, Description
from deploytk.pipelines.sessions import Opened, opened
from deploytk.runtimes import FixedBatch

PARTS = ("decode", "prepare", "detect", "nms", "crop", "classify", "after", "copy")
#: Of boxes that are given: a top-5 is told of them.
_LEAST_NAMES = 5
#: More threads bring little to the preparation of a handful of crops.
_MOST_WORKERS = 4
T = TypeVar("T")
#: A path, the bytes of an image file, or decoded pixels: (height, width, 3) uint8 in OpenCV's order, BGR.
Image = str | Path | bytes | np.ndarray
#: Which boxes become crops: (what was found in an image, its height, its width) -> (k, 4) corners in its pixels.
Choose = Callable[[Detections, int, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What is in one image: its objects, the most certain first.

    The first `named` of the n boxes were classified (`crops.most` of pipeline.json); the others have no names.
    """

    boxes: np.ndarray  # (n, 4) float32: x1, y1, x2, y2 in pixels of the image
    scores: np.ndarray  # (n,) float32, 0..1: of the detector
    labels: tuple[str, ...]  # n: of the detector
    names: tuple[tuple[str, ...], ...]  # for each of the first `named` boxes its most probable names, at most top_k
    probabilities: np.ndarray  # (named, k) float32, 0..1: of these names
    candidates: int  # boxes above the threshold, before the suppression
    ms: Mapping[str, float]  # of each stage of the call this image was part of, in its order; they sum up to the call

    @property
    def named(self) -> int:
        """How many boxes were classified."""
        return len(self.names)

    def as_dict(self) -> dict[str, Any]:
        """JSON-like values: `objects`, each with box, score, label, names and probabilities; `ms`."""
        objects = [
            {
                "box": [round(float(side), 2) for side in self.boxes[i]],
                "score": round(float(self.scores[i]), 4),
                "label": self.labels[i],
                "names": list(self.names[i]) if i < self.named else [],
                "probabilities": [round(float(p), 4) for p in self.probabilities[i]] if i < self.named else [],
            }
            for i in range(len(self.scores))
        ]
        return {"objects": objects, "ms": {name: round(value, 3) for name, value in self.ms.items()}}


@dataclass
class Laps:
    """The time of each stage of one call, in ns; a stage that is come back to adds up."""

    ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    at: int = field(default_factory=perf_counter_ns)

    def end(self, part: str) -> None:
        """All since the last end belongs to `part`."""
        now = perf_counter_ns()
        self.ns[part] += now - self.at
        self.at = now

    @property
    def ms(self) -> dict[str, float]:
        """In milliseconds."""
        return {name: ns / 1e6 for name, ns in self.ns.items()}


class Pipeline:
    """A detector and a classifier, opened; called with an image it says what is in it. One call at a time."""

    def __init__(self, told: Description, sessions: Opened, *, choose: Choose | None = None) -> None:
        """A pipeline of two opened models.

        Args:
            choose: which boxes become crops, by default the most certain ones, as many as `crops.most`.

        Raises:
            InputError: the models do not fit what is said of them.
        """
        self.told, self.detector, self.classifier = told, sessions.detector, sessions.classifier
        self._choose = choose or self._most_certain
        self._head = _checked(told, sessions)
        first = sessions.detector.inputs[0]
        self.images = int(first.shape[0])
        self._whole = np.zeros((self.images, *told.detector.preparation.shape), np.dtype(first.dtype))
        self._rows = np.zeros((self.classifier.most, *told.classifier.preparation.shape), self.classifier.input.dtype)
        self._lock = threading.Lock()
        # Decoding and preparing let go of Python's lock: several images or crops have several cores.
        self._workers = ThreadPoolExecutor(min(usage.cores(), _MOST_WORKERS), thread_name_prefix="deploytk-prepare")
        #: What both models gave in the last call: where NaN can be seen.
        self.last_outputs: Mapping[str, np.ndarray] = {}
        self.last_classes: list[np.ndarray] = []
        self.last_ms: dict[str, float] = {}

    def __call__(self, image: Image) -> Recognised:
        """What is in an image.

        Raises:
            InputError: it cannot be read or decoded.
        """
        return self.many([image])[0]

    def many(self, images: Sequence[Image]) -> list[Recognised]:
        """What is in each of several images; the detector takes as many at a time as it was opened for.

        Raises:
            InputError: one of them cannot be read or decoded.
        """
        groups = range(0, len(images), self.images)
        with self._lock:
            return [one for start in groups for one in self._group(images[start : start + self.images])]

    def classify(self, image: Image, boxes: np.ndarray) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        """(for each box its most probable names, their probabilities (n, k)) for boxes that are given; 5 or more names.

        Args:
            boxes: (n, 4) corners in pixels of the image.
        """
        pixels = pixels_of(image)
        with self._lock:
            labels, shares = self._classified([pixels], [boxes], Laps(), max(self.told.classifier.top_k, _LEAST_NAMES))
        return self._names(labels), shares

    def _group(self, images: Sequence[Image]) -> list[Recognised]:
        laps = Laps()
        pixels = self._each(pixels_of, images)
        laps.end("decode")
        found = self._detected(pixels, laps)
        chosen = [self._choose(one, *of.shape[:2]) for one, of in zip(found, pixels, strict=True)]
        laps.end("nms")
        labels, shares = self._classified(pixels, chosen, laps, self.told.classifier.top_k)
        return self._copied(found, [len(boxes) for boxes in chosen], labels, shares, laps)

    def _detected(self, pixels: Sequence[np.ndarray], laps: Laps) -> list[Detections]:
        """The objects of each image, in its pixels."""
        part, specs = self.told.detector, self.detector.outputs
        placed = self._each(part.preparation.fit_into, pixels, self._whole)
        laps.end("prepare")
        self.last_outputs = self.detector.run({self.detector.inputs[0].name: self._whole})
        laps.end("detect")
        outputs = [self.last_outputs[s.name] for s in specs]
        size, score, overlap = part.preparation.size, part.score_above, part.overlap_at_most
        found = detections(outputs, specs, self._head, size, score=score, overlap=overlap)[: len(pixels)]
        return [
            one.first(part.most_boxes).on_image(where, *of.shape[:2])
            for one, where, of in zip(found, placed, pixels, strict=True)
        ]

    def _classified(
        self, pixels: Sequence[np.ndarray], boxes: Sequence[np.ndarray], laps: Laps, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(labels (n, k), probabilities (n, k)) of the crops of all images, one after the other."""
        part, spec, most = self.told.classifier, self.classifier.output, self.classifier.most
        crops = [crop for of, some in zip(pixels, boxes, strict=True) for crop in self._crops(of, some)]
        self.last_classes, said = [], [_nothing(k, len(part.labels))]
        for start in range(0, len(crops), most):
            some = crops[start : start + most]
            self._each(part.preparation.fit_into, some, self._rows)
            laps.end("crop")
            self.last_classes.append(self.classifier.run(self._rows, len(some)))
            laps.end("classify")
            said.append(top_k(self.last_classes[-1], spec, k))
            laps.end("after")
        labels, shares = (np.concatenate(column) for column in zip(*said, strict=True))
        laps.end("after")
        return labels, shares

    def _each(self, function: Callable[..., T], first: Sequence[Any], *more: Iterable[Any]) -> list[T]:
        """The function of each of the first and what stands beside it, side by side where there are several."""
        if len(first) == 1:
            return [function(first[0], *(next(iter(each)) for each in more))]
        return list(self._workers.map(function, first, *more))

    def _crops(self, pixels: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
        """The parts of an image that the classifier is given: views, nothing is copied."""
        places = self.told.crops.places(boxes, *pixels.shape[:2])
        return [pixels[top:bottom, left:right] for left, top, right, bottom in places.tolist()]

    def _copied(
        self,
        found: Sequence[Detections],
        counts: Sequence[int],
        labels: np.ndarray,
        shares: np.ndarray,
        laps: Laps,
    ) -> list[Recognised]:
        """The results as values of their own."""
        ms: dict[str, float] = {}
        names, ends = self._names(labels), np.cumsum(counts)
        made = [
            Recognised(
                boxes=np.array(one.boxes, np.float32),
                scores=np.array(one.scores, np.float32),
                labels=tuple(map(self.told.detector.labels.__getitem__, one.labels.tolist())),
                names=names[end - count : end],
                probabilities=shares[end - count : end].copy(),
                candidates=one.candidates,
                ms=ms,
            )
            for one, end, count in zip(found, ends, counts, strict=True)
        ]
        laps.end("copy")
        ms |= laps.ms
        self.last_ms = dict(ms)
        return made

    def _names(self, labels: np.ndarray) -> tuple[tuple[str, ...], ...]:
        known = self.told.classifier.labels
        return tuple(tuple(map(known.__getitem__, row)) for row in labels.tolist())

    def _most_certain(self, found: Detections, _height: int, _width: int) -> np.ndarray:
        return found.boxes[: self.told.crops.most]


def load(path: Path | str, *, images: int = 1) -> Pipeline:
    """The pipeline in a folder (or of a pipeline.json), opened and ready.

    Args:
        images: how many images the detector takes at a time in `many`.

    Raises:
        InputError: no pipeline, a wrong key in it, or a model that is missing, was changed, does not fit, or cannot be
            run with so many images.
        MissingDependency: its runtime is not installed.
    """
    try:
        return from_described(descriptions.read(Path(path)), images=images)
    except FixedBatch as error:
        raise InputError(f"{path}: {error}") from error


def from_described(described: Described, *, images: int = 1, choose: Choose | None = None) -> Pipeline:
    """The same of a pipeline.json that was read; errors as for `load`.

    Raises:
        FixedBatch: the detector's file cannot be run with so many images.
    """
    try:
        return Pipeline(described.description, opened(described, images), choose=choose)
    except InputError as error:
        raise InputError(_with_place(described.path, error.message)) from error


def pixels_of(image: Image) -> np.ndarray:
    """An image as pixels: (height, width, 3) uint8 BGR.

    Raises:
        InputError: it cannot be read or decoded, or is an array of another kind.
    """
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
            return image
        raise InputError(f"an image is (height, width, 3) uint8 in BGR, not {image.dtype} {list(image.shape)}")
    if isinstance(image, bytes):
        return decode(image)
    try:
        data = Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror})") from error
    return decode(data, str(image))


def _with_place(place: Path, message: str) -> str:
    return message if message.startswith(str(place.parent)) else f"{place}: {message}"


def _nothing(k: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    k = min(k, classes)
    return np.empty((0, k), np.int64), np.empty((0, k), np.float32)


def _checked(told: Description, sessions: Opened) -> Head:
    """What the detector's outputs are; both models fit what is said of them, or an InputError."""
    detector, classifier = sessions.detector, sessions.classifier
    if len(detector.inputs) != 1:
        raise InputError(f"detector: takes {len(detector.inputs)} inputs, not one image")
    _require_fit("detector", told.detector.preparation.require_fit, detector.inputs[0])
    _require_fit("classifier", told.classifier.preparation.require_fit, classifier.input)
    head = head_of(detector.outputs, told.detector.preparation.size, "nms")
    shape = detector.outputs[0].shape
    found = {"decoded": shape[1], "maps": None}.get(str(head))
    if isinstance(found, int) and found - 4 != len(told.detector.labels):
        raise InputError(f"detector.labels: {len(told.detector.labels)} labels, and the model has {found - 4} classes")
    classes = head_of([classifier.output], told.classifier.preparation.size, "top-k")
    count = classifier.output.shape[1]
    if classes != "classes" or (isinstance(count, int) and count != len(told.classifier.labels)):
        raise InputError(
            f"classifier.labels: {len(told.classifier.labels)} labels, and the model's output is "
            f"{classifier.output.name} {list(classifier.output.shape)}"
        )
    assert head
    return head


def _require_fit(name: str, require: Callable[[Any], None], spec: Any) -> None:
    try:
        require(spec)
    except InputError as error:
        raise InputError(f"{name}.preparation: {error.message}") from error
