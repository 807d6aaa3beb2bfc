"""What is wrong with single rows of a manifest: their cells, their images, their boxes on them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from deploytk.data.checks.rules import Beyond, NearlyNamed, NoName, Rule, WrongBox
from deploytk.data.dataset import SPLITS
from deploytk.data.manifests.looks import Looks
from deploytk.data.manifests.manifest import NONE, Manifest

#: A box may end so much of its side behind the image: rounding.
_ROUNDED = 0.01


class Remark(NamedTuple):
    """A row for which a rule does not hold.

    `rejects`: a cleaned copy leaves the row out. `told`: it is listed; else another row says the same of the image.
    """

    row: int
    rule: type[Rule]
    said: str
    rejects: bool = False
    told: bool = True


def of_rows(told: Manifest) -> Iterator[Remark]:
    """Rows without a path or a label, and boxes that are none."""
    for fault in told.faults:
        yield Remark(fault.row, WrongBox if fault.kind == "box" else NoName, fault.said, rejects=True)


def of_images(told: Manifest, looks: Looks, shown: Sequence[str]) -> Iterator[Remark]:
    """What is wrong with the files: told once for each, but with an error each row of theirs is left out."""
    wrong = np.zeros(len(told.images), dtype=bool)
    wrong[list(looks.problems)] = True
    with_image = np.flatnonzero(told.image != NONE)
    told_of: set[int] = set()
    for row in with_image[wrong[told.image[with_image]]].tolist():
        image = int(told.image[row])
        first = image not in told_of
        told_of.add(image)
        for rule, said in looks.problems[image]:
            if first or rule.severity == "error":
                yield Remark(row, rule, f"{shown[image]}: {said}", rejects=rule.severity == "error", told=first)


def of_boxes(told: Manifest, looks: Looks) -> Iterator[Remark]:
    """Boxes that begin or end beyond their image."""
    if told.boxes is None:
        return
    sizes = np.zeros((len(told), 2))
    there = told.image != NONE
    sizes[there] = looks.sizes[told.image[there]]
    known = (sizes > 0).all(1)
    begins = known & (told.boxes[:, :2] >= sizes).any(1)
    ends = known & ~begins & (told.boxes[:, 2:] > sizes * (1 + _ROUNDED)).any(1)
    for rows, rule in ((begins, WrongBox), (ends, Beyond)):
        for row in np.flatnonzero(rows).tolist():
            box = ", ".join(f"{value:g}" for value in told.boxes[row])
            width, height = sizes[row].astype(int)
            how = "begins" if rule is WrongBox else "ends"
            yield Remark(row, rule, f"box {box} {how} beyond its image of {width}x{height}", rejects=rule is WrongBox)


def of_labels(told: Manifest) -> Iterator[Remark]:
    """Labels that look the same; the row is the first that has the rarer one."""
    alike: dict[str, list[int]] = {}
    for number, name in enumerate(told.classes):
        alike.setdefault(_plain(name), []).append(number)
    counted = np.bincount(told.label[told.label != NONE], minlength=len(told.classes))
    for several in alike.values():
        most, *others = sorted(several, key=lambda number: -counted[number])
        for number in others:
            row = int(np.argmax(told.label == number))
            said = f"label {told.classes[number]!r} beside {told.classes[most]!r}, which has {counted[most]:,} rows"
            yield Remark(row, NearlyNamed, said)


def _plain(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def split_of(told: Manifest, row: int) -> str:
    """The split of a row."""
    return SPLITS[int(told.split[row])]


def at(told: Manifest, row: int) -> str:
    """`val.csv:17`."""
    path, line = told.where(row)
    return f"{path.name}:{line}"


def name_of(told: Manifest, row: int, shown: Sequence[str]) -> str:
    """The image of a row as a person is shown it."""
    return shown[int(told.image[row])]
