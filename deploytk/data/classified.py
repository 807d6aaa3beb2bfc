"""A classification dataset as one frozen value: classes, and per split the pictures, which may be parts of images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from deploytk.data import preparation
from deploytk.data.class_index import ClassIndex
from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value

#: The split, and what its folder may be called.
FOLDERS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}
#: Of more images than this names and sizes count, not their bytes: reading 25 GB takes minutes at each start.
HASHED = 20_000
#: How much of an image around a labelled box belongs to the picture, where the profile does not say.
AROUND = Crops(margin=0.1, square=True)


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of an image a picture is: a box, and how much around it."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2
    fractions: bool  # of the image's width and height; otherwise pixels
    crops: Crops

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """left, top, right, bottom in whole pixels of an image of that size (turned as its EXIF says)."""
        scale = (width, height) * 2 if self.fractions else (1, 1, 1, 1)
        left, top, right, bottom = self.crops.places(np.array([self.box]) * scale, height, width)[0].tolist()
        return left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, or a part of it, and the index of its class."""

    image: Path
    label: int
    cut: Cut | None = None

    def pixels(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 BGR.

        Raises:
            InputError: the image cannot be read.
        """
        try:
            data = self.image.read_bytes()
        except OSError as error:
            raise InputError(f"{self.image}: cannot be read ({error.strerror})") from error
        decoded: NDArray[np.uint8] = preparation.decode(data, str(self.image))
        if self.cut is None:
            return decoded
        left, top, right, bottom = self.cut.place(*decoded.shape[:2])
        return decoded[top:bottom, left:right]

    def prepared(self, how: Preparation) -> np.ndarray:
        """The input (1, ...) of a model, exactly as at inference.

        Raises:
            InputError: the image cannot be read.
        """
        return how.fit(self.pixels())[0]


class Pictures(Sequence[Picture]):
    """Pictures as columns: half a million take some 60 MB, and a forked process copies none of them.

    The paths stand in one piece of memory: a Python string of each would be copied, page by page, into every process
    that loads images, for looking at one counts its references.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: NDArray[np.int32],
        *,
        image: NDArray[np.int32] | None = None,
        boxes: NDArray[np.float64] | None = None,
        fractions: bool = False,
        crops: Crops = AROUND,
    ) -> None:
        """`paths` once each; `image`: which of them each picture is of; `boxes`: (n, 4), NaN for the whole image."""
        joined = "".join(paths)
        lengths = map(len, paths if joined.isascii() else map(os.fsencode, paths))
        self._paths = os.fsencode(joined)
        self._ends = np.cumsum(np.fromiter(lengths, np.int64, len(paths)))
        self.labels = labels
        self.image = np.arange(len(paths), dtype=np.int32) if image is None else image
        self.boxes, self.fractions, self.crops = boxes, fractions, crops

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> list[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | list[Picture]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return Picture(Path(self._path(int(self.image[index]))), int(self.labels[index]), self._cut(index))

    def paths(self) -> Iterator[str]:
        """Each image once, in the order of `image`."""
        start = 0
        for end in self._ends.tolist():
            yield os.fsdecode(self._paths[start:end])
            start = end

    def _path(self, number: int) -> str:
        start = int(self._ends[number - 1]) if number else 0
        return os.fsdecode(self._paths[start : int(self._ends[number])])

    def _cut(self, index: int) -> Cut | None:
        if self.boxes is None or np.isnan(self.boxes[index, 0]):
            return None
        x1, y1, x2, y2 = self.boxes[index].tolist()
        return Cut((x1, y1, x2, y2), self.fractions, self.crops)


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The classes, in the order of their ids, and the pictures of each split. Nothing here is ever written."""

    source: Path  # the folder, the data.yaml or the manifest
    index: ClassIndex
    splits: Mapping[str, Pictures]
    files: tuple[Path, ...] = ()  # what `deploytk data check` looks at: the manifests, or the detector's dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.index.classes

    @property
    def crops(self) -> Crops | None:
        """How pictures are cut out of images, None where they are whole images."""
        return next((p.crops for p in self.splits.values() if p.boxes is not None), None)

    def counts(self) -> dict[str, int]:
        """How many pictures each split has."""
        return {name: len(pictures) for name, pictures in self.splits.items()}

    def per_class(self, split: str) -> NDArray[np.int64]:
        """How many pictures of each class a split has."""
        labels = self.splits[split].labels if split in self.splits else np.empty(0, np.int32)
        return np.bincount(labels, minlength=len(self.classes))

    def missing(self, split: str) -> list[str]:
        """The classes that a split has no picture of."""
        return [self.classes[number] for number in np.flatnonzero(self.per_class(split) == 0)]

    def images(self) -> list[str]:
        """The path of each image, once."""
        return list(dict.fromkeys(path for pictures in self.splits.values() for path in pictures.paths()))

    def fingerprint(self) -> str:
        """What `sha256` says; it is found out once."""
        return self.sha256

    @cached_property
    def sha256(self) -> str:
        """The sha256 of classes, images, labels and boxes: equal for equal data, wherever it lies.

        An image counts with its bytes; where there are more than `HASHED`, with its size and its path from the
        dataset's folder on: another picture of the same size under the same name is not noticed then.

        Raises:
            InputError: an image is not there.
        """
        images = self.images()
        told = dict(zip(images, self._told(images), strict=True))
        if self.crops is None and len(images) <= HASHED:
            rows = {name: [[told[str(p.image)], p.label] for p in pictures] for name, pictures in self.splits.items()}
            return sha256_of_value({"classes": self.classes, "splits": rows})
        crops = self.crops and self.crops.model_dump(include={"margin", "square"})
        digest = hashlib.sha256(sha256_of_value({"classes": self.classes, "crops": crops}).encode())
        for name, pictures in self.splits.items():
            digest.update(f"\n{name}\n".encode())
            digest.update("\n".join(told[path] for path in pictures.paths()).encode(errors="surrogateescape"))
            for column in (pictures.image, pictures.labels, pictures.boxes):
                digest.update(b"" if column is None else column.tobytes())
        return digest.hexdigest()

    def _told(self, images: Sequence[str]) -> list[str]:
        """What counts of each image."""
        try:
            if len(images) <= HASHED:
                return [sha256_of(Path(path)) for path in images]
            root = f"{self.source.parent if self.source.is_file() else self.source}/"
            return [f"{path.removeprefix(root)} {os.path.getsize(path)}" for path in images]  # noqa: PTH202 - 3x as fast
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error


def class_folders(folder: Path) -> list[Path]:
    """The subfolders of a split, sorted; hidden ones are no classes."""
    return [f for f in sorted(folder.iterdir()) if f.is_dir() and f.name[0] != "."]


def read(path: Path, *, index: ClassIndex | None = None, crops: Crops = AROUND) -> Classified:
    """The pictures in a folder per class, in a manifest, or in the labelled boxes of a detector's dataset.

    Images are not decoded.

    Args:
        path: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg; a CSV with a column `split`, or a folder with train.csv
            and val.csv; a data.yaml, or a Pascal-VOC folder.
        index: the classes and their ids; by default those of the training pictures.
        crops: how a box becomes a picture.

    Raises:
        InputError: it is missing, empty or wrong, a split has no picture, or a label is no class.
        MissingDependency: a manifest, and polars is not installed.
    """
    from deploytk.data import classified_sources

    found = classified_sources.read(path.resolve(), index, crops)
    for split in ("train", "val"):
        if not found.splits.get(split):
            raise InputError(f"{found.source}: split {split!r} has no labelled pictures")
    return found
