"""The labels of one image, all that is wrong with them listed: YOLO lines, DOTA lines, VOC annotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploytk.data import voc, yolo
from deploytk.data.checks.rules import (
    Beyond,
    Count,
    Dota,
    NearlyRepeated,
    NoArea,
    NoLabelFor,
    Number,
    OtherSize,
    OutOfRange,
    Outside,
    Problem,
    Repeated,
    Rule,
    Turnable,
    Unreadable,
)
from deploytk.data.dataset import Box
from deploytk.data.faults import Fault, Kind
from deploytk.errors import InputError

Size = tuple[int, int] | None

_RULES: dict[Kind, type[Rule]] = {
    "number": Number,
    "count": Count,
    "class": OutOfRange,
    "outside": Outside,
    "area": NoArea,
}
#: Two boxes of one class that overlap by more are one object.
SAME_OBJECT = 0.95
#: So much of the image's side may a box go on outside.
_BEYOND = 0.01
#: DOTA's files begin with these.
_DOTA_HEADERS = ("imagesource:", "gsd:")
#: Sides of an annotation and of its image may differ by so much, as a share: scaled pictures are rounded.
_SAME_SHAPE = 0.02


@dataclass(frozen=True, slots=True)
class Line:
    """One usable object: its line (0: not known), class and box. The class is a name where it has no index yet."""

    number: int
    label: int | str
    box: tuple[float, float, float, float]  # centre, width, height as fractions


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the label file of an image holds: what can be used, and what cannot."""

    image: Path
    file: Path
    lines: tuple[Line, ...] = ()
    problems: tuple[Problem, ...] = ()
    told: bool = True  # whether the label file is there


def of_yolo(image: Path, file: Path, classes: Sequence[str], size: Size) -> Labels:
    """The labels of an image in YOLO's format; in DOTA's too, where the image's size is known."""
    text = _text(image, file)
    if isinstance(text, Labels):
        return text
    lines: list[Line] = []
    found: list[Problem] = []
    corners: list[int] = []
    dota: list[int] = []
    plain = False
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or line.startswith(_DOTA_HEADERS):
            continue
        is_dota = _is_dota(words)
        plain |= len(words) == 5
        box = _dota_box(words, classes, size) if is_dota else yolo.line_of(words, len(classes))
        if is_dota:
            dota.append(number)
        elif len(words) == 9 and isinstance(box, Box):
            corners.append(number)
        if isinstance(box, Fault):
            found.append(Problem(rule=_RULES[box.kind], file=file, line=number, said=box.said))
        else:
            lines.append(Line(number, box.label, (box.x, box.y, box.w, box.h)))
            found += _beyond(file, number, box)
    found += _forms(file, corners, dota, plain)
    return once(Labels(image=image, file=file, lines=tuple(lines), problems=tuple(found)))


def of_voc(image: Path, file: Path, size: Size) -> Labels:
    """The labels of an image in a VOC annotation; classes are names still."""
    if not file.is_file():
        return _unlabelled(image, file)
    try:
        root = voc.parsed(file)
        told = voc.size_in(root)
    except (InputError, OSError) as error:
        problem = Problem(rule=Unreadable, file=file, said=_tail(str(error), file))
        return Labels(image=image, file=file, problems=(problem,))
    found: list[Problem] = []
    if isinstance(told, Fault):
        found.append(Problem(rule=_RULES[told.kind], file=file, said=told.said))
        told = (0.0, 0.0)
    other = _other_size(file, told, size)
    found += other
    width, height = told if told[0] else (size or (math.inf, math.inf))
    lines = []
    for number, element in voc.objects_in(file, root):
        named = voc.object_of(element, width, height)
        if isinstance(named, Fault):
            if not other or named.kind != "outside":  # outside of what? that is said already
                found.append(Problem(rule=_RULES[named.kind], file=file, line=number, said=named.said))
        else:
            lines.append(Line(number, named.name, named.box))
    return once(Labels(image=image, file=file, lines=tuple(lines), problems=tuple(found)))


def indexed(labels: Labels, classes: Sequence[str]) -> Labels:
    """The labels with the index of each class instead of its name; unknown names are problems."""
    index = {name: i for i, name in enumerate(classes)}
    kept, found = [], list(labels.problems)
    for line in labels.lines:
        label = line.label if isinstance(line.label, int) else index.get(line.label)
        if label is None:
            said = f"unknown class {line.label!r}; known: {', '.join(classes)[:80]}"
            found.append(Problem(rule=OutOfRange, file=labels.file, line=line.number, said=said))
        else:
            kept.append(Line(line.number, label, line.box))
    return replace(labels, lines=tuple(kept), problems=tuple(found))


def once(labels: Labels) -> Labels:
    """The labels without what is there twice, or nearly; the first of them stays."""
    seen: dict[tuple[int | str, tuple[float, ...]], int] = {}
    found, kept = list(labels.problems), []
    for line in labels.lines:
        key = (line.label, line.box)
        if key in seen:
            said = f"the same as line {seen[key]}"
            found.append(Problem(rule=Repeated, file=labels.file, line=line.number, said=said))
        else:
            kept.append(line)
        seen.setdefault(key, line.number)
    dropped = _nearly(kept)
    for later, first, overlap in dropped:
        said = f"nearly the same as line {kept[first].number} (IoU {overlap:.3f})"
        found.append(Problem(rule=NearlyRepeated, file=labels.file, line=kept[later].number, said=said))
    gone = {later for later, _, _ in dropped}
    lines = tuple(line for i, line in enumerate(kept) if i not in gone)
    return replace(labels, lines=lines, problems=tuple(found))


def overlap_of(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (centre, width, height)."""
    sides = []
    for axis in (0, 1):
        low = max(one[axis] - one[axis + 2] / 2, other[axis] - other[axis + 2] / 2)
        high = min(one[axis] + one[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
        sides.append(max(0.0, high - low))
    shared = sides[0] * sides[1]
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0


def _nearly(lines: Sequence[Line]) -> list[tuple[int, int, float]]:
    """(the later, the earlier, their overlap) of lines that are nearly the same object."""
    order = sorted(range(len(lines)), key=lambda i: lines[i].box[0])
    near = []
    for place, i in enumerate(order):
        reach = lines[i].box[0] + (1 - SAME_OBJECT) * lines[i].box[2]
        for j in order[place + 1 :]:
            if lines[j].box[0] > reach:  # their middles are too far apart for such an overlap
                break
            overlap = overlap_of(lines[i].box, lines[j].box) if lines[i].label == lines[j].label else 0.0
            if overlap > SAME_OBJECT:
                near.append((max(i, j), min(i, j), overlap))
    gone: set[int] = set()
    dropped = []
    for later, first, overlap in sorted(near):
        if later not in gone and first not in gone:
            gone.add(later)
            dropped.append((later, first, overlap))
    return dropped


def _text(image: Path, file: Path) -> str | Labels:
    if not file.is_file():
        return _unlabelled(image, file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        said = f"not a text file in UTF-8 ({getattr(error, 'reason', None) or error})"
        return Labels(image=image, file=file, problems=(Problem(rule=Unreadable, file=file, said=said),))


def _unlabelled(image: Path, file: Path) -> Labels:
    problem = Problem(rule=NoLabelFor, file=image, said=f"no label file in {'/'.join(file.parent.parts[-2:])}/")
    return Labels(image=image, file=file, problems=(problem,), told=False)


def _tail(said: str, file: Path) -> str:
    return said.removeprefix(f"{file}: ")


def _beyond(file: Path, number: int, box: Box) -> list[Problem]:
    """Whether a box goes on outside the image by more than rounding does."""
    ends = (box.x - box.w / 2, box.y - box.h / 2, 1 - box.x - box.w / 2, 1 - box.y - box.h / 2)
    out = -min(ends)
    if out <= _BEYOND:
        return []
    side = ("left", "top", "right", "bottom")[ends.index(-out)]
    said = f"goes on outside the image by {out:.1%} at the {side}"
    return [Problem(rule=Beyond, file=file, line=number, said=said)]


def _forms(file: Path, corners: list[int], dota: list[int], plain: bool) -> list[Problem]:
    """What is said of lines that are no plain boxes: once for each file."""
    found = []
    if corners:
        said = f"{_lines(corners)} with four corner points, read as the box around them"
        # Ultralytics 8.4.190, data/utils.py: "labels mix segment and detection rows".
        said += "; beside plain boxes, where Ultralytics by itself would drop the image" if plain else ""
        found.append(Problem(rule=Turnable, file=file, line=corners[0], said=said))
    if dota:
        said = f"{_lines(dota)} in DOTA's format (corners in pixels, class, difficulty)"
        found.append(Problem(rule=Dota, file=file, line=dota[0], said=said))
    return found


def _lines(numbers: list[int]) -> str:
    return "1 line" if len(numbers) == 1 else f"{len(numbers)} lines"


def _is_dota(words: list[str]) -> bool:
    """x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]: eight numbers, in pixels, and then a word."""
    if len(words) not in (9, 10):
        return False
    corners = [number for number in map(_number, words[:8]) if number is not None and math.isfinite(number)]
    return len(corners) == 8 and max(corners) > 1 and _number(words[8]) is None


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _dota_box(words: list[str], classes: Sequence[str], size: Size) -> Box | Fault:
    if words[8] not in classes:
        return Fault("class", f"unknown class {words[8]!r}; the data.yaml names {', '.join(classes)[:80]}")
    if size is None:
        return Fault("outside", "corners in pixels (DOTA) of an image whose size cannot be read")
    xs = [min(max(float(word) / size[0], 0.0), 1.0) for word in words[0:8:2]]
    ys = [min(max(float(word) / size[1], 0.0), 1.0) for word in words[1:8:2]]
    w, h = max(xs) - min(xs), max(ys) - min(ys)
    if w <= 0 or h <= 0:
        return Fault("area", f"the box around the corners has no area on the image ({size[0]}x{size[1]})")
    return Box(classes.index(words[8]), (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, w, h)


def _other_size(file: Path, told: tuple[float, float], size: Size) -> list[Problem]:
    """Whether an annotation was made for a picture of another shape; another scale is no harm."""
    if not told[0] or size is None:
        return []
    shape = (told[0] / told[1]) / (size[0] / size[1])
    if abs(shape - 1) <= _SAME_SHAPE:
        return []
    said = f"made for a picture of {told[0]:g}x{told[1]:g}; the image is {size[0]}x{size[1]}"
    turned = "; width and height are exchanged" if told == (size[1], size[0]) else ""
    return [Problem(rule=OtherSize, file=file, said=said + turned)]
