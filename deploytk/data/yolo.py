"""A YOLO data.yaml and its label files, read strictly: the first wrong line is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from deploytk.data.dataset import SPLITS, SUFFIXES, Box, Dataset, Sample, images_in, label_finding
from deploytk.data.faults import Fault
from deploytk.errors import InputError
from deploytk.report import Finding

#: Label files are written with six decimals: 1.000001 is rounding, 1.01 is wrong.
_SLACK = 1e-5
#: "validation" and "valid" are what other tools call it.
_ALIASES = {"val": ("val", "validation", "valid")}


def read(path: Path) -> Dataset:
    """The dataset that a data.yaml describes.

    Raises:
        InputError: the file, a folder or a label line is wrong.
    """
    told = load(path)
    classes = classes_of(path, told)
    root, findings = root_of(path, told)
    splits = {}
    for split in SPLITS:
        entries = entries_of(path, split, told)
        if not entries:
            if split == "test":
                continue
            raise InputError(f"{path}: no {split!r}: a data.yaml names the images of train and val")
        images = _images(path, root, split, entries)
        repeated: list[str] = []
        splits[split] = tuple(Sample(i, boxes_in(label_path(i), classes, repeated)) for i in images)
        findings += _repeated(split, repeated)
    return Dataset(source=path, classes=classes, splits=splits, findings=tuple(findings))


def label_path(image: Path) -> Path:
    """Where the labels of an image stand: the last `images` folder becomes `labels`, the suffix `.txt`."""
    parts = list(image.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def load(path: Path) -> dict[str, Any]:
    """What the data.yaml says, checked for being one."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a data.yaml ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(told, dict):
        raise InputError(f"{path}: not a data.yaml: it has no train, val and names")
    return told


def classes_of(path: Path, told: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classes, by index."""
    names, count = told.get("names"), told.get("nc")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"{path}: names: the keys must be 0 to {len(names) - 1}, without gaps")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: names: a list or a dict of class names is missing")
    if count is not None and count != len(names):
        raise InputError(f"{path}: nc is {count!r} but there are {len(names)} names")
    odd = [n for n in names if n is None or isinstance(n, list | dict)]
    if odd:
        raise InputError(f"{path}: names: {odd[0]!r} is no name of a class")
    doubled = {str(n) for n in names if names.count(n) > 1}
    if doubled:
        raise InputError(f"{path}: names: {', '.join(sorted(doubled))} is there more than once")
    return tuple(str(n) for n in names)


def root_of(path: Path, told: dict[str, Any]) -> tuple[Path, list[Finding]]:
    """The folder that the splits are relative to. A `path:` that is not there gives way to the yaml's own folder."""
    beside = path.resolve().parent
    given = told.get("path")
    if not given:
        return beside, []
    if not isinstance(given, str):
        raise InputError(f"{path}: path: must be a folder, not {given!r}")
    root = beside / given
    if root.is_dir():
        return root, []
    message = f"path: {given} is not there; the folder of {path.name} is used instead"
    return beside, [label_finding("DATA001", str(path), message, "correct or remove path:")]


def entries_of(path: Path, split: str, told: dict[str, Any]) -> list[str]:
    """What the data.yaml says about the images of a split: folders, list files or images; nothing where it does not."""
    given = next((told[k] for k in _ALIASES.get(split, (split,)) if told.get(k)), None)
    entries = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(e, str) for e in entries):
        raise InputError(f"{path}: {split}: must be a folder, a list file or a list of them, not {given!r}")
    return entries


def place_of(path: Path, root: Path, entry: str) -> Path | None:
    """Where an entry of a split stands; None where it is not there."""
    # Roboflow writes ../train/images where it means train/images beside the yaml.
    tried = [root / entry, path.resolve().parent / entry, root / entry.removeprefix("../")]
    return next((p for p in tried if p.exists()), None)


def listed_in(file: Path) -> list[tuple[int, str]]:
    """The images that a list file names, each with its line; relative ones are so to the file's folder."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: neither a folder, an image nor a list of images") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _images(path: Path, root: Path, split: str, entries: list[str]) -> list[Path]:
    """The images of a split: of one or more folders, list files or single images."""
    images = [image for entry in entries for image in _entry(path, root, split, entry)]
    if not images:
        given = ", ".join(entries)
        raise InputError(f"{path}: {split}: no images in {given}; known are {', '.join(sorted(SUFFIXES))}")
    return list(dict.fromkeys(images))


def _entry(path: Path, root: Path, split: str, entry: str) -> list[Path]:
    found = place_of(path, root, entry)
    if found is None:
        raise InputError(f"{path}: {split}: {entry} is not there (looked in {root})")
    if found.is_dir():
        return images_in(found)
    if found.suffix.lower() in SUFFIXES:
        return [found]
    images = []
    for number, name in listed_in(found):
        images.append(found.parent / name)
        if not images[-1].is_file():
            raise InputError(f"{found}:{number}: {name} is not there")
    return images


def boxes_in(file: Path, classes: tuple[str, ...], repeated: list[str]) -> tuple[Box, ...]:
    """The boxes of a label file; none where there is no file. Repeated lines are dropped and noted in `repeated`."""
    if not file.is_file():
        return ()
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not a text file ({error.reason})") from error
    boxes: dict[Box, None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        box = line_of(line.split(), len(classes))
        if isinstance(box, Fault):
            raise InputError(f"{file}:{number}: {box.said}")
        if box in boxes:
            repeated.append(f"{file}:{number}")
        boxes[box] = None
    return tuple(boxes)


def line_of(words: list[str], count: int) -> Box | Fault:
    """The box that a label line says, or what is wrong with it.

    Args:
        words: class x y w h, or class and a polygon of three points or more, whose box is taken.
        count: how many classes there are.
    """
    try:
        numbers = [float(w) for w in words]
    except ValueError:
        return Fault("number", f"not a number in {' '.join(words)[:80]!r}; expected: class x y w h")
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
        return Fault("count", f"{len(numbers)} numbers; expected 5: class x y w h (or class and a polygon)")
    label, *places = numbers
    if not math.isfinite(label) or label != int(label) or not 0 <= label < count:
        return Fault("class", f"class {words[0]} is out of range; the data.yaml names classes 0 to {count - 1}")
    if not all(-_SLACK <= p <= 1 + _SLACK for p in places):
        said = f"a coordinate is outside 0..1: {' '.join(words[1:])[:80]} (they are fractions)"
        return Fault("outside", said)
    x, y, w, h = places if len(places) == 4 else _around(places)
    if w <= 0 or h <= 0:
        return Fault("area", f"the box has no area (w {w:g}, h {h:g}); remove the line")
    return Box(int(label), x, y, w, h)


def _around(polygon: list[float]) -> tuple[float, float, float, float]:
    """Centre, width and height of the box around a polygon (a segmentation label used for detection)."""
    xs, ys = polygon[0::2], polygon[1::2]
    return (
        (min(xs) + max(xs)) / 2,
        (min(ys) + max(ys)) / 2,
        max(xs) - min(xs),
        max(ys) - min(ys),
    )


def _repeated(split: str, lines: list[str]) -> list[Finding]:
    if not lines:
        return []
    message = f"{len(lines)} repeated label lines (first: {lines[0]})"
    return [label_finding("DATA004", f"split {split}", message, "each is used once")]
