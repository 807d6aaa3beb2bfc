"""The three places that pictures to classify come from: a folder per class, a manifest, a detector's boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploytk.data import class_index, dataset
from deploytk.data.class_index import ClassIndex
from deploytk.data.classified import FOLDERS, Classified, Pictures, class_folders
from deploytk.data.crops import Crops
from deploytk.data.dataset import SPLITS, Dataset, Sample, images_in
from deploytk.data.manifests import columns, manifest
from deploytk.data.manifests.manifest import Manifest
from deploytk.errors import InputError

_GIVE = "give a folder with train/CLASS/... and val/CLASS/..., a manifest (.csv), or a detector's data.yaml"
_YAML = (".yaml", ".yml")


def read(path: Path, index: ClassIndex | None, crops: Crops) -> Classified:
    """What stands at an absolute path: see `classified.read`."""
    if not path.exists():
        raise InputError(f"{path}: no such folder or file; {_GIVE}")
    files = manifests(path)
    if files:
        return _of_manifest(path, manifest.read(*files), index, crops)
    if _is_detectors(path):
        return _of_boxes(dataset.read(path), index, crops)
    if not path.is_dir():
        raise InputError(f"{path}: neither a manifest nor a dataset; {_GIVE}")
    return _of_folders(path, index)


def manifests(path: Path) -> list[Path]:
    """The CSV itself, or those of a folder that has one for train and one for val."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".csv" else []
    found = {file: columns.split_of_name(file) for file in sorted(path.glob("*.csv"))}
    named = [file for file, split in found.items() if split is not None]
    return named if {"train", "val"} <= set(found.values()) else []


def _is_detectors(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in _YAML
    return (path / "Annotations").is_dir() or any((path / f"data{suffix}").is_file() for suffix in _YAML)


def _of_folders(path: Path, index: ClassIndex | None) -> Classified:
    folders = {split: next((path / n for n in names if (path / n).is_dir()), None) for split, names in FOLDERS.items()}
    for split in ("train", "val"):
        if folders[split] is None:
            raise InputError(f"{path}: no folder {split!r}; {_GIVE}")
    given = index is not None
    index = index or ClassIndex(classes=tuple(folder.name for folder in class_folders(path / "train")))
    splits = {split: _of_split(folder, index, given) for split, folder in folders.items() if folder is not None}
    for split in ("train", "val"):
        if not splits[split]:
            raise InputError(f"{folders[split]}: no images in folders of classes")
    return Classified(source=path, index=index, splits=splits)


def _of_split(folder: Path, index: ClassIndex, given: bool) -> Pictures:
    paths: list[str] = []
    labels: list[int] = []
    for inside in class_folders(folder):
        images = images_in(inside)
        if inside.name not in index.ids:
            known = "data.class_index" if given else "the training images"
            raise InputError(f"{inside}: no class of {known} is called {inside.name!r}")
        paths += map(str, images)
        labels += [index.ids[inside.name]] * len(images)
    return Pictures(paths, np.array(labels, np.int32))


def _of_manifest(path: Path, told: Manifest, index: ClassIndex | None, crops: Crops) -> Classified:
    train = told.split == SPLITS.index("train")
    ids, given = index, index is not None
    if ids is None:
        ids = class_index.of_labels(told.classes[number] for number in np.unique(told.label[train]).tolist())
    labels = np.array([ids.ids.get(name, -1) for name in told.classes], np.int32)[told.label]
    _require_known(told, labels, len(ids.classes), given)
    splits = {}
    for split in told.splits:
        splits[split] = _of_rows(told, labels, np.flatnonzero(told.split == SPLITS.index(split)), crops)
    return Classified(source=path, index=ids, splits=splits, files=told.sources)


def _of_rows(told: Manifest, labels: NDArray[np.int32], rows: NDArray[np.int64], crops: Crops) -> Pictures:
    once, image = np.unique(told.image[rows], return_inverse=True)
    return Pictures(
        [told.images[number] for number in once.tolist()],
        labels[rows],
        image=image.astype(np.int32),
        boxes=None if told.boxes is None else told.boxes[rows],
        crops=crops,
    )


def _require_known(told: Manifest, labels: NDArray[np.int32], classes: int, given: bool) -> None:
    unknown = np.flatnonzero(labels < 0)
    if not len(unknown):
        return
    file, line = told.where(int(unknown[0]))
    label = told.classes[int(told.label[unknown[0]])]
    what = f"not among the {classes:,} of data.class_index" if given else "in no row of train"
    names = len(np.unique(told.label[unknown]))
    more = f" ({len(unknown):,} such rows, {names:,} such labels)" if len(unknown) > 1 else ""
    raise InputError(f"{file}:{line}: the label {label!r} is {what}{more}")


def _of_boxes(found: Dataset, index: ClassIndex | None, crops: Crops) -> Classified:
    """The boxes of a detector's dataset: its classes keep their order."""
    ids = index or ClassIndex(classes=found.classes)
    numbers = [ids.ids.get(name, -1) for name in found.classes]
    splits = {split: _of_samples(samples, numbers, crops) for split, samples in found.splits.items()}
    for split, pictures in splits.items():
        unknown = np.flatnonzero(pictures.labels < 0)
        if len(unknown):
            lost = ", ".join(repr(name) for name, number in zip(found.classes, numbers, strict=True) if number < 0)
            where = pictures[int(unknown[0])].image
            raise InputError(f"{found.source}: {lost} not in data.class_index (a box of {split}: {where})")
    return Classified(source=found.source, index=ids, splits=splits, files=(found.source,))


def _of_samples(samples: Sequence[Sample], numbers: Sequence[int], crops: Crops) -> Pictures:
    boxed = [sample for sample in samples if sample.boxes]
    every = [(number, box) for number, sample in enumerate(boxed) for box in sample.boxes]
    corners = [(b.x - b.w / 2, b.y - b.h / 2, b.x + b.w / 2, b.y + b.h / 2) for _, b in every]
    return Pictures(
        [str(sample.image) for sample in boxed],
        np.array([numbers[box.label] for _, box in every], np.int32),
        image=np.array([number for number, _ in every], np.int32),
        boxes=np.array(corners, np.float64).reshape(-1, 4),
        fractions=True,
        crops=crops,
    )
