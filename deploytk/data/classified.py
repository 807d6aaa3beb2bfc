"""A classification dataset as one frozen value: a folder per class, in a folder per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploytk.data.dataset import images_in
from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value

#: The split, and what its folder may be called.
FOLDERS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class Picture:
    """One image and the index of its class."""

    image: Path
    label: int


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The classes, in the order of their names, and the images of each split. Nothing here is ever written."""

    source: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Picture, ...]]

    def counts(self) -> dict[str, int]:
        """How many images each split has."""
        return {name: len(pictures) for name, pictures in self.splits.items()}

    def missing(self, split: str) -> list[str]:
        """The classes that a split has no image of."""
        seen = Counter(p.label for p in self.splits.get(split, ()))
        return [name for index, name in enumerate(self.classes) if not seen[index]]

    def fingerprint(self) -> str:
        """The sha256 of classes, image bytes and labels: equal for equal data, wherever it lies."""
        told = {name: [[sha256_of(p.image), p.label] for p in of] for name, of in self.splits.items()}
        return sha256_of_value({"classes": self.classes, "splits": told})


def read(path: Path) -> Classified:
    """The dataset in a folder: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg. Images are not decoded.

    Raises:
        InputError: it is missing or empty, a split has no image, or a class of `val` is none of `train`.
    """
    path = path.resolve()
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give one with train/CLASS/... and val/CLASS/... in it")
    folders = {split: next((path / n for n in names if (path / n).is_dir()), None) for split, names in FOLDERS.items()}
    for split in ("train", "val"):
        if folders[split] is None:
            raise InputError(f"{path}: no folder {split!r}; give one with train/CLASS/... and val/CLASS/... in it")
    classes = tuple(folder.name for folder in class_folders(path / "train"))
    splits = {split: _pictures(folder, classes) for split, folder in folders.items() if folder is not None}
    for split in ("train", "val"):
        if not splits[split]:
            raise InputError(f"{folders[split]}: no images in folders of classes")
    return Classified(source=path, classes=classes, splits=splits)


def class_folders(folder: Path) -> list[Path]:
    """The subfolders of a split, sorted; hidden ones are no classes."""
    return [f for f in sorted(folder.iterdir()) if f.is_dir() and f.name[0] != "."]


def _pictures(folder: Path, classes: tuple[str, ...]) -> tuple[Picture, ...]:
    numbers = {name: number for number, name in enumerate(classes)}
    found = []
    for inside in class_folders(folder):
        if inside.name not in numbers:
            raise InputError(f"{inside}: no class of the training images is called {inside.name!r}")
        found += [Picture(image, numbers[inside.name]) for image in images_in(inside)]
    return tuple(found)
