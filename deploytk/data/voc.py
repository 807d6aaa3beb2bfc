"""A Pascal-VOC folder: Annotations/*.xml, JPEGImages, ImageSets/**/{train,val}.txt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from deploytk.data.dataset import SPLITS, SUFFIXES, Box, Dataset, Sample, label_finding
from deploytk.data.faults import Fault
from deploytk.errors import InputError
from deploytk.report import Finding

#: VOC counts pixels from 1 and to the last one: a box may stand one pixel beyond the image.
_SLACK_PIXELS = 1.0
#: Files that fix the classes and their order, where there is one.
_CLASS_FILES = ("classes.txt", "labels.txt", "predefined_classes.txt")


@dataclass(frozen=True, slots=True)
class Named:
    """A box that still has its class's name."""

    name: str
    box: tuple[float, float, float, float]  # centre, width, height as fractions


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object with the file and line it stands in."""

    where: str
    named: Named


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
    fixed = fixed_classes(folder)
    every = {placed.named.name for rows in labelled.values() for _, boxes in rows for placed in boxes}
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


def list_of(folder: Path, split: str) -> Path | None:
    """The file that lists the images of a split; None where there is none."""
    lists = sorted((folder / "ImageSets").rglob(f"{split}.txt")) if (folder / "ImageSets").is_dir() else []
    return next((p for p in lists if p.parent.name == "Main"), lists[0]) if lists else None


def names_in(file: Path) -> list[tuple[int, str]]:
    """The names of images in a list, each with its line."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [(number, line.split()[0]) for number, line in enumerate(lines, start=1) if line.strip()]


def image_of(folder: Path, name: str) -> Path | None:
    """The image that a list calls `name`; None where it is not in JPEGImages."""
    stem = folder / "JPEGImages" / name
    if "/" in name or "\\" in name:
        raise InputError(f"{folder}: an ImageSets list names {name!r}; only names of images are allowed there")
    if stem.suffix.lower() in SUFFIXES and stem.is_file():
        return stem
    for suffix in (".jpg", ".JPG", *sorted(SUFFIXES)):
        if (image := stem.with_name(stem.name + suffix)).is_file():
            return image
    return None


def annotation_path(folder: Path, image: Path) -> Path:
    """Where the annotation of an image stands."""
    return folder / "Annotations" / f"{image.stem}.xml"


def _listed(folder: Path, split: str, findings: list[Finding]) -> list[Path]:
    """The images of a split that are there; names without an image are a finding."""
    file = list_of(folder, split)
    if file is None:
        if split == "test":
            return []
        raise InputError(f"{folder}: no ImageSets/Main/{split}.txt: a VOC folder lists its train and val images")
    names = [name for _, name in names_in(file)]
    if not names:
        raise InputError(f"{file}: lists no image")
    images = [image_of(folder, name) for name in dict.fromkeys(names)]
    found = [image for image in images if image is not None]
    if not found and split != "test":
        raise InputError(f"{file}: none of its {len(images)} images is in {folder / 'JPEGImages'}")
    if found and len(found) < len(images):
        message = f"{len(images) - len(found)} of {len(images)} listed images are not in JPEGImages"
        findings.append(label_finding("DATA005", str(file), message, "the others are used"))
    return found


def fixed_classes(folder: Path) -> tuple[str, ...]:
    """The classes that a file beside the folders fixes; nothing where there is none."""
    file = next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)
    if file is None:
        return ()
    names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if len(set(names)) != len(names):
        raise InputError(f"{file}: names a class more than once")
    return names


def parsed(file: Path) -> ElementTree.Element:
    """The root of an annotation.

    Raises:
        InputError: it is no XML.
    """
    try:
        return ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{file}: not an annotation ({error})") from error


def _annotation(folder: Path, image: Path) -> list[_Placed]:
    """The objects of an image; none where it has no annotation."""
    file = annotation_path(folder, image)
    if not file.is_file():
        return []
    root = parsed(file)
    width, height = _size(file, root, image)
    placed = []
    for line, found in objects_in(file, root):
        where = f"{file}:{line}" if line else str(file)
        named = object_of(found, width, height)
        if isinstance(named, Fault):
            raise InputError(f"{where}: {named.said}")
        placed.append(_Placed(where, named))
    return placed


def objects_in(file: Path, root: ElementTree.Element) -> list[tuple[int, ElementTree.Element]]:
    """Each `<object>` with its line, 0 where that is not known: ElementTree does not keep it."""
    text = file.read_bytes().splitlines()
    lines = [n for n, line in enumerate(text, start=1) for _ in range(line.count(b"<object>"))]
    return [(lines[i] if i < len(lines) else 0, found) for i, found in enumerate(root.iter("object"))]


def size_in(root: ElementTree.Element) -> tuple[float, float] | Fault:
    """Width and height as the annotation tells them, (0, 0) where it does not; some tools leave 0 there."""
    sides = []
    for side in ("width", "height"):
        number = _number(root, f"size/{side}") or 0.0
        if isinstance(number, Fault):
            return number
        sides.append(number)
    return (sides[0], sides[1]) if min(sides) > 0 else (0.0, 0.0)


def _size(file: Path, root: ElementTree.Element, image: Path) -> tuple[float, float]:
    told = size_in(root)
    if isinstance(told, Fault):
        raise InputError(f"{file}: {told.said}")
    from deploytk.data.images import size_of

    return told if told[0] else size_of(image)


def _number(element: ElementTree.Element, path: str) -> float | Fault | None:
    text = element.findtext(path)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else Fault("number", f"{path}: {text!r} is not a number")


def object_of(found: ElementTree.Element, width: float, height: float) -> Named | Fault:
    """The class and the box of an `<object>` in an image of that size, or what is wrong with it."""
    name = (found.findtext("name") or "").strip()
    if not name:
        return Fault("class", "an object without a name")
    numbers = [_number(found, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    wrong = next((number for number in numbers if isinstance(number, Fault)), None)
    if wrong is not None:
        return wrong
    sides = [number for number in numbers if isinstance(number, float)]
    if len(sides) != 4:
        return Fault("count", f"{name}: bndbox needs xmin, ymin, xmax and ymax")
    box = _within(sides, width, height)
    return Fault(box.kind, f"{name}: {box.said}") if isinstance(box, Fault) else Named(name, box)


def _within(sides: list[float], width: float, height: float) -> tuple[float, float, float, float] | Fault:
    left, top, right, bottom = sides
    if min(left, top) < -_SLACK_PIXELS or right > width + _SLACK_PIXELS or bottom > height + _SLACK_PIXELS:
        said = f"the box {left:g},{top:g},{right:g},{bottom:g} is outside the image ({width:g}x{height:g})"
        return Fault("outside", said)
    left, right = max(0.0, left), min(width, right)
    top, bottom = max(0.0, top), min(height, bottom)
    if right <= left or bottom <= top:
        return Fault("area", "the box has no area; remove the object")
    x, y = (left + right) / 2 / width, (top + bottom) / 2 / height
    return x, y, (right - left) / width, (bottom - top) / height


def _indexed(placed: list[_Placed], index: dict[str, int], repeated: list[str]) -> tuple[Box, ...]:
    kept: dict[Box, None] = {}
    for each in placed:
        named = each.named
        if named.name not in index:
            known = ", ".join(index)
            raise InputError(f"{each.where}: unknown class {named.name!r}; classes.txt names {known}")
        box = Box(index[named.name], *named.box)
        if box in kept:
            repeated.append(each.where)
        kept[box] = None
    return tuple(kept)
