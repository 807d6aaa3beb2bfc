"""A detection dataset looked at from every side: one value with all that is wrong and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploytk.data.checks import class_checks, label_checks, leakage, listing, looking, object_sizes
from deploytk.data.checks.image_checks import Looked
from deploytk.data.checks.label_checks import Labels
from deploytk.data.checks.leakage import Pair
from deploytk.data.checks.listing import Listing
from deploytk.data.checks.looking import Listener
from deploytk.data.checks.object_sizes import Sides
from deploytk.data.checks.rules import Problem
from deploytk.data.dataset import Box


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found. Nothing of the dataset was written to."""

    listing: Listing
    classes: tuple[str, ...]
    looks: Mapping[Path, Looked]
    labels: Mapping[Path, Labels]
    counts: Mapping[str, Mapping[str, int]]  # class -> split -> objects
    sides: Mapping[str, Sides]
    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]

    def shown(self, file: Path) -> str:
        """The file, from the dataset's folder on where it lies in it."""
        root = self.listing.root
        if file == root:
            return root.resolve().name
        return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def survey(path: Path, *, imgsz: int, deep: bool, jobs: int, listen: Listener) -> Survey:
    """All that is wrong with the dataset at `path`.

    Raises:
        InputError: no dataset is there.
    """
    named = listing.read(path)
    looks = looking.look_at(named.images, deep=deep, jobs=jobs, listen=listen)
    listen({"done": None, "total": None, "text": "labels"})
    classes, labels = _labels(named, looks)
    by_split = {split: [labels[image] for image in images] for split, images in named.splits.items()}
    counts = class_checks.counts(classes, by_split)
    sides = _sides(named, classes, looks, labels, imgsz)
    pairs = [*leakage.exact(named.splits, looks), *(leakage.alike(named.splits, looks) if deep else ())]
    problems = [
        *named.problems,
        *(problem for each in looks.values() for problem in each.problems),
        *(problem for each in labels.values() for problem in each.problems),
        *class_checks.check(named.source, counts),
        *leakage.check(pairs, labels, named.root),
        *object_sizes.check(named.source, sides),
    ]
    return Survey(
        listing=named,
        classes=classes,
        looks=looks,
        labels=labels,
        counts=counts,
        sides=sides,
        pairs=tuple(pairs),
        problems=tuple(sorted(problems, key=lambda p: (p.rule.code, str(p.file), p.line))),
    )


def _labels(named: Listing, looks: Mapping[Path, Looked]) -> tuple[tuple[str, ...], dict[Path, Labels]]:
    """The classes, and the labels of each image with the index of its classes."""
    sizes = {image: looks[image].size for image in named.images}
    if not named.is_voc:
        of = label_checks.of_yolo
        return named.classes, {i: of(i, named.label_of(i), named.classes, sizes[i]) for i in named.images}
    told = {image: label_checks.of_voc(image, named.label_of(image), sizes[image]) for image in named.images}
    names = {str(line.label) for labels in told.values() for line in labels.lines}
    classes = named.classes or tuple(sorted(names))
    return classes, {image: label_checks.indexed(labels, classes) for image, labels in told.items()}


def _sides(
    named: Listing, classes: tuple[str, ...], looks: Mapping[Path, Looked], labels: Mapping[Path, Labels], imgsz: int
) -> dict[str, Sides]:
    """Of the objects in train; of all where there is none."""
    images = named.splits.get("train", named.images)
    labelled = ((image, boxes(labels[image])) for image in images)
    return object_sizes.sides(labelled, classes, imgsz, lambda image: looks[image].size)


def boxes(labels: Labels) -> tuple[Box, ...]:
    """The usable boxes of an image, their classes as indices."""
    return tuple(Box(line.label, *line.box) for line in labels.lines if isinstance(line.label, int))
