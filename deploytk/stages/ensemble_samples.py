"""The labelled images that the models of an ensemble answer: of a detection dataset, or pictures of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.data import classified, dataset
from deploytk.data.classified import AROUND, Picture
from deploytk.data.crops import Crops
from deploytk.data.dataset import Sample
from deploytk.data.labelled import root_of
from deploytk.errors import InputError
from deploytk.files import sha256_of_value
from deploytk.pipelines.running import pixels_of
from deploytk.stages.ensemble_models import Kind


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One image, or a part of one, and what is in it."""

    image: Path
    pixels: Callable[[], np.ndarray]  # (height, width, 3) uint8 BGR; InputError where it cannot be read
    labels: tuple[int, ...]  # indices of the dataset's classes: one of a picture, one per object of an image
    #: Corners: of each object, as fractions of the image; of a picture that is part of an image, as its dataset says.
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def corners(self, height: int, width: int) -> np.ndarray:
        """(objects, 4) float32: x1, y1, x2, y2 in pixels of an image of that size."""
        return np.array(self.boxes, np.float32).reshape(-1, 4) * np.array([width, height] * 2, np.float32)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """All of a split."""

    source: Path
    classes: tuple[str, ...]
    asked: Sequence[Asked]

    @property
    def digest(self) -> str:
        """The sha256 of which images are asked about, by their place in the dataset, and what is right."""
        root = root_of(self.source).resolve()
        return sha256_of_value([[_place(one.image, root), one.labels, one.boxes] for one in self.asked])


def read(data: Path, kind: Kind, split: str, crops: dict[str, Any] | None) -> Samples:
    """The labelled images of a split.

    Args:
        crops: how a classifier's pictures are cut out of the boxes of a detector's dataset; the usual way by default.

    Raises:
        InputError: no such dataset or split, it is wrong, or nothing is in it.
        MissingDependency: a manifest, and polars is not installed.
    """
    if kind == "detector":
        found = dataset.read(data)
        images = _split(data, found.splits, split)
        if not any(sample.boxes for sample in images):
            raise InputError(f"{data}: the images of split {split!r} have no labelled object: nothing can be scored")
        return Samples(source=found.source, classes=found.classes, asked=[_image(sample) for sample in images])
    known = classified.read(data, crops=Crops.model_validate(crops) if crops else AROUND)
    pictures = [_picture(picture) for picture in _split(data, known.splits, split)]
    return Samples(source=known.source, classes=known.classes, asked=pictures)


def _split(data: Path, splits: Any, split: str) -> Any:
    if not splits.get(split):
        known = ", ".join(name for name, samples in splits.items() if samples)
        raise InputError(f"{data}: there is no split {split!r}; it has {known}")
    return splits[split]


def _image(sample: Sample) -> Asked:
    corners = [(b.x - b.w / 2, b.y - b.h / 2, b.x + b.w / 2, b.y + b.h / 2) for b in sample.boxes]
    return Asked(
        image=sample.image,
        pixels=lambda: pixels_of(sample.image),
        labels=tuple(box.label for box in sample.boxes),
        boxes=tuple(corners),
    )


def _picture(picture: Picture) -> Asked:
    cut = picture.cut
    return Asked(
        image=picture.image,
        pixels=picture.pixels,
        labels=(picture.label,),
        boxes=() if cut is None else (cut.box,),
    )


def _place(image: Path, root: Path) -> str:
    path = image.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
