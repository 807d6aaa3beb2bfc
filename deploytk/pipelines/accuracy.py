"""How right a pipeline is on labelled images: its detector, its classifier, and both together (numpy only).

Detections find objects in confidence order: the most certain detection takes the object it overlaps most with among
those still free, where the IoU is at least 0.5, then the next one. An object is taken once; a detection that takes none
is wrong. Other rules (each object takes its best detection, say) give other numbers on the same boxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from deploytk.data.agreement import iou
from deploytk.pipelines.running import Recognised

IOU = 0.5
RULE = (
    "confidence order: detections in the order of falling confidence each take the object they overlap most with among "
    f"those still free, at an IoU of {IOU:g} or more; an object is taken once"
)


class Recogniser(Protocol):
    """Whatever recognises objects: a pipeline that was deployed, or the trained one in torch."""

    def __call__(self, image: np.ndarray) -> Recognised:
        """What is in an image, (height, width, 3) uint8 BGR."""
        ...

    def classify(self, image: np.ndarray, boxes: np.ndarray) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        """(most probable names, probabilities) of boxes that are given, (n, 4) corners in pixels of the image."""
        ...


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The objects of one image."""

    boxes: np.ndarray  # (m, 4) float32: x1, y1, x2, y2 in pixels
    names: tuple[str, ...]


def taken(boxes: np.ndarray, scores: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(n,) int64: which object each box takes in confidence order, -1 where none.

    Args:
        boxes, objects: (n, 4) and (m, 4) corners in pixels.
        scores: (n,) confidences; of equal ones the first box goes first.
    """
    found = np.full(len(boxes), -1, np.int64)
    overlaps = iou(boxes, objects)
    for row in np.argsort(-scores, kind="stable"):
        best = int(overlaps[row].argmax()) if overlaps.shape[1] else -1
        if best >= 0 and overlaps[row, best] >= IOU:
            found[row] = best
            overlaps[:, best] = 0.0
    return found


def average_precision(confidences: Sequence[float], right: Sequence[bool], objects: int) -> float | None:
    """The area under the curve of precision over recall, at every point; None where there are no objects."""
    if not objects:
        return None
    order = np.argsort(-np.asarray(confidences, np.float64), kind="stable")
    hits = np.asarray(right, bool)[order]
    if not hits.any():
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hits].sum() / objects)


@dataclass
class Curve:
    """Detections of one kind over all images, and how many objects of it there are."""

    confidences: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    objects: int = 0

    @property
    def value(self) -> float | None:
        """The average precision."""
        return average_precision(self.confidences, self.right, self.objects)


@dataclass
class Score:
    """What was counted so far, image by image."""

    images: int = 0
    objects: int = 0
    boxes: int = 0
    found: int = 0  # objects that a box took
    named: int = 0  # of these, those with the right name
    top1: int = 0
    top5: int = 0
    detector: Curve = field(default_factory=Curve)
    names: dict[str, Curve] = field(default_factory=lambda: defaultdict(Curve))

    def add(self, said: Recognised, on_objects: Sequence[Sequence[str]], truth: Truth) -> None:
        """Count one image.

        Args:
            on_objects: the names that the classifier gives the crops of the true boxes, the most probable first.
        """
        self.images += 1
        self.objects += len(truth.names)
        self.boxes += len(said.scores)
        self._stages(said, on_objects, truth)
        for name in {*truth.names, *(names[0] for names in said.names)}:
            self._name(name, said, truth)

    def _stages(self, said: Recognised, on_objects: Sequence[Sequence[str]], truth: Truth) -> None:
        took = taken(said.boxes, said.scores, truth.boxes)
        self.detector.confidences += said.scores.tolist()
        self.detector.right += (took >= 0).tolist()
        self.detector.objects += len(truth.names)
        self.found += int((took >= 0).sum())
        self.named += sum(at >= 0 and names[0] == truth.names[at] for at, names in zip(took, said.names, strict=False))
        for names, name in zip(on_objects, truth.names, strict=True):
            self.top1 += name == names[0]
            self.top5 += name in names[:5]

    def _name(self, name: str, said: Recognised, truth: Truth) -> None:
        """The boxes that were called `name`, and the objects that are; as certain as box and name together."""
        rows = [i for i, names in enumerate(said.names) if names[0] == name]
        objects = truth.boxes[[i for i, true in enumerate(truth.names) if true == name]]
        sure = said.scores[rows] * said.probabilities[rows, 0] if rows else np.empty(0, np.float32)
        curve = self.names[name]
        curve.confidences += sure.tolist()
        curve.right += (taken(said.boxes[rows], sure, objects) >= 0).tolist()
        curve.objects += len(objects)

    def as_dict(self) -> dict[str, Any]:
        """The numbers of both stages and of the whole, 0..1; None where nothing tells one."""
        each = [curve.value for curve in self.names.values() if curve.objects]
        return {
            "images": self.images,
            "objects": self.objects,
            "boxes": self.boxes,
            "names": len(each),
            "detector_mAP50": self.detector.value,
            "detector_recall": _share(self.found, self.objects),
            "classifier_top1": _share(self.top1, self.objects),
            "classifier_top5": _share(self.top5, self.objects),
            "mAP50": float(np.mean(np.asarray(each, np.float64))) if each else None,
            "found_and_named": _share(self.named, self.objects),
        }


@dataclass
class Alike:
    """How often two pipelines say the same of one image."""

    images: int = 0
    same: int = 0  # images with the same boxes and the same names
    boxes: int = 0
    others: int = 0
    partners: int = 0  # boxes that the other pipeline has too
    names: int = 0  # of these, those that both name, and name the same

    def add(self, said: Recognised, other: Recognised) -> None:
        """Compare one image: the boxes of `said` take partners among those of `other` by the same rule."""
        took = taken(said.boxes, said.scores, other.boxes)
        pairs = [(i, int(at)) for i, at in enumerate(took) if at >= 0]
        names = sum(_name(said, i) == _name(other, at) for i, at in pairs)
        self.images += 1
        self.boxes += len(said.scores)
        self.others += len(other.scores)
        self.partners += len(pairs)
        self.names += names
        self.same += len(pairs) == len(said.scores) == len(other.scores) == names

    def as_dict(self) -> dict[str, Any]:
        """The counts, and the shares of equal boxes and of equal names among them."""
        told = {name: getattr(self, name) for name in ("images", "same", "boxes", "others", "partners", "names")}
        boxes = _share(2 * self.partners, self.boxes + self.others)
        return told | {"same_boxes": boxes, "same_names": _share(self.names, self.partners)}


def _name(said: Recognised, number: int) -> str | None:
    return said.names[number][0] if number < said.named else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
