"""Images with the classes on them: of a detection dataset, or of a folder with one subfolder per class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploytk.data import classified, dataset
from deploytk.data.classified import FOLDERS, Classified, class_folders
from deploytk.data.classified_sources import manifests
from deploytk.data.dataset import images_in
from deploytk.data.preparation import Task
from deploytk.errors import InputError

_SUFFIXES = (".yaml", ".yml", ".csv")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image and the indices of the classes that are on it."""

    image: Path
    classes: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What calibration samples are drawn from, and the images they must not be among."""

    source: Path  # a data.yaml, a manifest or a folder
    task: Task
    classes: tuple[str, ...]
    train: tuple[Labelled, ...]
    evaluation: Mapping[str, tuple[Path, ...]]  # "val", "test": their images

    @property
    def root(self) -> Path:
        """What the places of images are relative to."""
        return root_of(self.source)


def root_of(source: Path) -> Path:
    """The folder of a dataset that is given as its data.yaml, as a manifest or as a folder."""
    return source.parent if source.suffix in _SUFFIXES else source


def read(path: Path) -> Pool:
    """The images of a YOLO data.yaml (or its folder), a Pascal-VOC folder, a folder with one subfolder per class, or a
    manifest.

    Raises:
        InputError: it is missing, empty or wrong.
    """
    path = path.resolve()
    if path.exists() and manifests(path):
        return _of_manifest(classified.read(path))
    if path.is_dir() and not (path / "Annotations").is_dir() and not [*path.glob("*.yaml"), *path.glob("*.yml")]:
        return _of_folders(path)
    found = dataset.read(path)
    return Pool(
        source=found.source,
        task="detector",
        classes=found.classes,
        train=tuple(Labelled(s.image, frozenset(b.label for b in s.boxes)) for s in found.splits["train"]),
        evaluation={name: tuple(s.image for s in of) for name, of in found.splits.items() if name != "train"},
    )


def _of_manifest(found: Classified) -> Pool:
    if found.crops is not None:
        raise InputError(f"{found.source}: its pictures are boxes; a calibration set is of whole images")
    return Pool(
        source=found.source,
        task="classifier",
        classes=found.classes,
        train=tuple(Labelled(picture.image, frozenset({picture.label})) for picture in found.splits["train"]),
        evaluation={s: tuple(map(Path, of.paths())) for s, of in found.splits.items() if s != "train"},
    )


def _of_folders(path: Path) -> Pool:
    """Classes are the subfolders of `train`, or of the folder itself where there is no `train`."""
    splits = {split: next((path / n for n in names if (path / n).is_dir()), None) for split, names in FOLDERS.items()}
    train = splits.pop("train") or path
    folders = [f for f in class_folders(train) if f not in splits.values()]
    if not folders:
        raise InputError(
            f"{path}: no dataset; give a YOLO data.yaml, a Pascal-VOC folder, or a folder with one subfolder per class"
        )
    images = {folder: images_in(folder) for folder in folders}
    empty = next((folder for folder, found in images.items() if not found), None)
    if empty is not None:
        raise InputError(
            f"{empty}: no images; each subfolder of {train} is a class (of a YOLO set, give its data.yaml)"
        )
    return Pool(
        source=path,
        task="classifier",
        classes=tuple(folder.name for folder in folders),
        train=tuple(Labelled(i, frozenset({n})) for n, folder in enumerate(folders) for i in images[folder]),
        evaluation={split: tuple(images_in(folder)) for split, folder in splits.items() if folder is not None},
    )
