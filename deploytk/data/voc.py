"""A Pascal-VOC folder: Annotations/*.xml, JPEGImages, ImageSets/**/{train,val}.txt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from deploytk.data.dataset import SPLITS, SUFFIXES, Box, Dataset, Sample, label_finding
from deploytk.errors import InputError
from deploytk.report import Finding

#: VOC counts pixels from 1 and to the last one: a box may stand one pixel beyond the image.
_SLACK_PIXELS = 1.0
#: Files that fix the classes and their order, where there is one.
_CLASS_FILES = ("classes.txt", "labels.txt", "predefined_classes.txt")


@dataclass(frozen=True, slots=True)
class _Named:
    """A box that still has its class's name."""

    name: str
    where: str
    box: tuple[float, float, float, float]  # centre, width, height as fractions


def read(folder: Path) -> Dataset:
    """The dataset in a Pascal-VOC folder. Classes are those of classes.txt, or all names in the annotations, sorted.

    Raises:
        InputError: a list, an image or an annotation is missing or wrong.
    """
    findings: list[Finding] = []
    labelled = {}
    for split in SPLITS:
        images = _listed(folder, split, findings)
        if images:
            labelled[split] = [(image, _annotation(folder, image)) for image in images]
    fixed = _fixed_classes(folder)
    every = {named.name for rows in labelled.values() for _, boxes in rows for named in boxes}
    classes = fixed or tuple(sorted(every))
    index = {name: i for i, name in enumerate(classes)}
    repeated: list[str] = []
    splits = {
        split: tuple(Sample(image, _indexed(boxes, index, repeated)) for image, boxes in rows)
        for split, rows in labelled.items()
    }
    if repeated:
        message = f"{len(repeated)} repeated objects (first: {repeated[0]})"
        findings.append(label_finding("DATA004", str(folder), message, "each is used once"))
    return Dataset(source=folder, classes=classes, splits=splits, findings=tuple(findings))


def _listed(folder: Path, split: str, findings: list[Finding]) -> list[Path]:
    """The images of a split that are there; names without an image are a finding."""
    lists = sorted((folder / "ImageSets").rglob(f"{split}.txt")) if (folder / "ImageSets").is_dir() else []
    if not lists:
        if split == "test":
            return []
        raise InputError(f"{folder}: no ImageSets/Main/{split}.txt: a VOC folder lists its train and val images")
    file = next((p for p in lists if p.parent.name == "Main"), lists[0])
    names = [line.split()[0] for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not names:
        raise InputError(f"{file}: lists no image")
    images = [_image(folder, name) for name in dict.fromkeys(names)]
    found = [image for image in images if image is not None]
    if not found and split != "test":
        raise InputError(f"{file}: none of its {len(images)} images is in {folder / 'JPEGImages'}")
    if found and len(found) < len(images):
        message = f"{len(images) - len(found)} of {len(images)} listed images are not in JPEGImages"
        findings.append(label_finding("DATA005", str(file), message, "the others are used"))
    return found


def _image(folder: Path, name: str) -> Path | None:
    stem = folder / "JPEGImages" / name
    if "/" in name or "\\" in name:
        raise InputError(f"{folder}: an ImageSets list names {name!r}; only names of images are allowed there")
    if stem.suffix.lower() in SUFFIXES and stem.is_file():
        return stem
    for suffix in (".jpg", ".JPG", *sorted(SUFFIXES)):
        if (image := stem.with_name(stem.name + suffix)).is_file():
            return image
    return None


def _fixed_classes(folder: Path) -> tuple[str, ...]:
    file = next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)
    if file is None:
        return ()
    names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if len(set(names)) != len(names):
        raise InputError(f"{file}: names a class more than once")
    return names


def _annotation(folder: Path, image: Path) -> list[_Named]:
    """The objects of an image; none where it has no annotation."""
    file = folder / "Annotations" / f"{image.stem}.xml"
    if not file.is_file():
        return []
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{file}: not an annotation ({error})") from error
    width, height = _size(file, root, image)
    lines = _object_lines(file)
    named = []
    for number, found in enumerate(root.iter("object")):
        line = lines[number] if number < len(lines) else 0
        named.append(_object(f"{file}:{line}" if line else str(file), found, width, height))
    return named


def _object_lines(file: Path) -> list[int]:
    """The line of each `<object>`, for messages: ElementTree does not keep it."""
    text = file.read_bytes().splitlines()
    return [n for n, line in enumerate(text, start=1) for _ in range(line.count(b"<object>"))]


def _size(file: Path, root: ElementTree.Element, image: Path) -> tuple[float, float]:
    width, height = (_number(file, root, f"size/{side}") or 0.0 for side in ("width", "height"))
    if width > 0 and height > 0:
        return width, height
    from deploytk.data.images import size_of

    # Some tools leave 0 there.
    return size_of(image)


def _number(where: object, element: ElementTree.Element, path: str) -> float | None:
    text = element.findtext(path)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"{where}: {path}: {text!r} is not a number") from error
    if not math.isfinite(value):
        raise InputError(f"{where}: {path}: {text!r} is not a number")
    return value


def _object(where: str, found: ElementTree.Element, width: float, height: float) -> _Named:
    name = (found.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{where}: an object without a name")
    sides = [_number(where, found, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if None in sides:
        raise InputError(f"{where}: {name}: bndbox needs xmin, ymin, xmax and ymax")
    left, top, right, bottom = (s for s in sides if s is not None)
    if min(left, top) < -_SLACK_PIXELS or right > width + _SLACK_PIXELS or bottom > height + _SLACK_PIXELS:
        box = f"{left:g},{top:g},{right:g},{bottom:g}"
        raise InputError(f"{where}: {name}: the box {box} is outside the image ({width:g}x{height:g})")
    left, right = max(0.0, left), min(width, right)
    top, bottom = max(0.0, top), min(height, bottom)
    if right <= left or bottom <= top:
        raise InputError(f"{where}: {name}: the box has no area; remove the object")
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    return _Named(name, where, (x, y, (right - left) / width, (bottom - top) / height))


def _indexed(boxes: list[_Named], index: dict[str, int], repeated: list[str]) -> tuple[Box, ...]:
    kept: dict[Box, None] = {}
    for named in boxes:
        if named.name not in index:
            known = ", ".join(index)
            raise InputError(f"{named.where}: unknown class {named.name!r}; classes.txt names {known}")
        box = Box(index[named.name], *named.box)
        if box in kept:
            repeated.append(named.where)
        kept[box] = None
    return tuple(kept)
