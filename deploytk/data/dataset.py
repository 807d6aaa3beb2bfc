"""A detection dataset as one frozen value: classes, and per split the images with their boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value
from deploytk.report import Finding

#: What Pillow, OpenCV and Ultralytics all read, and what a folder of images is searched for.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
#: A training needs the first two.
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Box:
    """One object: class index, centre, width and height as fractions of the image."""

    label: int
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and the objects in it."""

    image: Path
    boxes: tuple[Box, ...]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a data.yaml or a VOC folder holds. Nothing here was written, and nothing will be."""

    source: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    findings: tuple[Finding, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many images each split has."""
        return {name: len(samples) for name, samples in self.splits.items()}

    def as_one(self, name: str) -> Dataset:
        """The same objects, all of one class called `name`."""
        splits = {
            split: tuple(Sample(s.image, tuple(replace(box, label=0) for box in s.boxes)) for s in samples)
            for split, samples in self.splits.items()
        }
        return replace(self, classes=(name,), splits=splits)

    def fingerprint(self) -> str:
        """The sha256 of classes, image bytes and boxes: equal for equal data, wherever it lies."""
        told = {
            name: [[sha256_of(s.image), [[b.label, b.x, b.y, b.w, b.h] for b in s.boxes]] for s in samples]
            for name, samples in self.splits.items()
        }
        return sha256_of_value({"classes": self.classes, "splits": told})


def read(path: Path) -> Dataset:
    """The dataset at `path`: a YOLO data.yaml (or its folder), or a Pascal-VOC folder. Images are not decoded.

    Raises:
        InputError: it is missing, empty or wrong; with file and line where there is one.
    """
    from deploytk.data import voc, yolo

    place = layout_of(Path(path))
    found = voc.read(place) if place.is_dir() else yolo.read(place)
    _complete(found)
    return Dataset(
        source=found.source,
        classes=found.classes,
        splits=found.splits,
        findings=(*found.findings, *_unlabelled(found), *_untrained(found), *_shared(found)),
    )


def layout_of(path: Path) -> Path:
    """The data.yaml of a YOLO dataset that is given by it or by its folder, or the Pascal-VOC folder.

    Raises:
        InputError: it is neither.
    """
    if not path.exists():
        raise InputError(f"{path}: no such dataset; give a YOLO data.yaml or a Pascal-VOC folder")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{path}: neither a file nor a folder; give a YOLO data.yaml or a Pascal-VOC folder")
    if path.is_file() or (path / "Annotations").is_dir():
        return path
    return _yaml_in(path)


def label_finding(rule: str, where: str, message: str, fix: str = "") -> Finding:
    """A warning about labels: the dataset can be used, but somebody should look."""
    return Finding(rule=rule, severity="warning", where=where, message=message, fix=fix)


def images_in(folder: Path) -> list[Path]:
    """The images under a folder, sorted; hidden files (macOS leaves `._x.jpg`) are no images."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def _yaml_in(folder: Path) -> Path:
    candidates = [folder / "data.yaml", folder / "data.yml"]
    found = [p for p in candidates if p.is_file()] or sorted(folder.glob("*.y*ml"))
    if len(found) != 1:
        what = "several .yaml files" if found else "neither a data.yaml nor an Annotations folder (Pascal-VOC)"
        raise InputError(f"{folder}: {what}; give the path of the dataset's data.yaml")
    return found[0]


def _complete(found: Dataset) -> None:
    """Nothing, where there is a class and an image to train on and to validate with."""
    if not found.classes:
        raise InputError(f"{found.source}: names no class")
    for split in SPLITS[:2]:
        if not found.splits.get(split):
            raise InputError(f"{found.source}: split {split!r} has no images")
    if not any(s.boxes for s in found.splits["train"]):
        raise InputError(f"{found.source}: split 'train' has images but not one labelled object")


def _unlabelled(found: Dataset) -> list[Finding]:
    findings = []
    for split, samples in found.splits.items():
        bare = [s.image for s in samples if not s.boxes]
        if bare:
            message = f"{len(bare)} of {len(samples)} images have no object (first: {bare[0].name})"
            findings.append(label_finding("DATA002", f"split {split}", message, "they count as background"))
    return findings


def _untrained(found: Dataset) -> list[Finding]:
    seen = Counter(b.label for s in found.splits["train"] for b in s.boxes)
    never = [name for i, name in enumerate(found.classes) if not seen[i]]
    if not never:
        return []
    message = f"no object of {', '.join(never[:8])}{' ...' if len(never) > 8 else ''}"
    return [label_finding("DATA003", "split train", message, "the model cannot learn what it never sees")]


def _shared(found: Dataset) -> list[Finding]:
    """A warning where an image is both trained on and validated with."""
    trained = {s.image.resolve() for s in found.splits["train"]}
    both = [s.image for s in found.splits["val"] if s.image.resolve() in trained]
    if not both:
        return []
    message = f"{len(both)} of {len(found.splits['val'])} images are in train too (first: {both[0].name})"
    return [label_finding("DATA006", "split val", message, "the metrics say nothing about new images")]
