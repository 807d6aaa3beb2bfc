"""A new YOLO dataset of what can be trained on, and a list of what was left out and why. The old one stays as it is."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from deploytk.data import dataset
from deploytk.data.checks.looking import Listener
from deploytk.data.checks.rules import (
    Beyond,
    Copied,
    Dota,
    Leaked,
    Missing,
    NoImageFor,
    NotInSet,
    OtherSize,
    Problem,
    Stray,
    Turnable,
    Unread,
    Unreadable,
)
from deploytk.data.checks.survey import Survey, boxes
from deploytk.data.dataset import Box
from deploytk.errors import InputError
from deploytk.files import written_whole

#: Problems of files that are no part of what can be trained on.
_NO_PART = (Missing, NoImageFor, NotInSet, Stray, Unread)
#: What is wrong with all labels of an image: without them it would teach that nothing is there.
_LABELS_UNUSABLE = (OtherSize, Unreadable)
#: What is said of a label file, and leaves no line out.
_KEPT_AS_BOXES = (Beyond, Dota, Turnable)
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The new dataset in numbers."""

    folder: Path
    images: Mapping[str, int]  # split -> images
    objects: int
    rejected_images: int
    rejected_lines: int

    @property
    def rejected(self) -> int:
        """Images and label lines that were left out."""
        return self.rejected_images + self.rejected_lines


@dataclass(frozen=True, slots=True)
class _Rejected:
    file: Path
    line: int
    rule: str
    why: str
    what: Literal["image", "label", "rest"]


@dataclass(frozen=True, slots=True)
class _Kept:
    image: Path
    boxes: tuple[Box, ...]
    kind: str
    told: bool  # whether there is a label file


def require_new(out: Path, images: tuple[Path, ...] = ()) -> None:
    """Nothing, where a new dataset may be written to `out`.

    Raises:
        InputError: something is there already, or it would lie among the images of the dataset.
    """
    require_place(out, "--fix")
    inside = next((p for p in {image.parent.resolve() for image in images} if out.resolve().is_relative_to(p)), None)
    if inside is not None:
        raise InputError(f"{out}: lies among the images in {inside}; give --fix a folder elsewhere")


def require_place(out: Path, option: str) -> None:
    """Nothing, where nothing is at `out` yet; `option` is how the user named it.

    Raises:
        InputError: something is there.
    """
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: is there already; give {option} a new folder")


def clean(found: Survey, out: Path, listen: Listener) -> Cleaned:
    """The dataset that now stands in `out`, with `rejected.csv` beside its data.yaml.

    Raises:
        InputError: `out` may not be written to, or a split would have nothing left to train or validate with.
    """
    require_new(out, found.listing.images)
    kept, rejected = _sorted_out(found)
    _require_enough(found, kept)
    with written_whole(out) as temporary:
        _write(temporary, found.classes, kept, listen)
        _write_rejected(temporary / "rejected.csv", found, rejected)
        # Whatever this file thinks of the labels: they are only called clean where the strict reader takes them.
        dataset.read(temporary / "data.yaml")
    return Cleaned(
        folder=out,
        images={split: len(images) for split, images in kept.items()},
        objects=sum(len(each.boxes) for images in kept.values() for each in images),
        rejected_images=sum(each.what == "image" for each in rejected),
        rejected_lines=sum(each.what == "label" for each in rejected),
    )


def _sorted_out(found: Survey) -> tuple[dict[str, list[_Kept]], list[_Rejected]]:
    """What is kept of each split, and what is not."""
    wrong = _whole_images(found)
    kept = {
        split: [_kept(found, image) for image in images if (split, image) not in wrong]
        for split, images in found.listing.splits.items()
    }
    rejected = [_rejected(problem, "rest") for problem in found.problems if issubclass(problem.rule, _NO_PART)]
    rejected += wrong.values()
    for images in kept.values():
        for each in images:
            rejected += _lines(found, each.image)
    return {split: images for split, images in kept.items() if images}, list(dict.fromkeys(rejected))


def _kept(found: Survey, image: Path) -> _Kept:
    labels = found.labels[image]
    return _Kept(image, boxes(labels), found.looks[image].kind, labels.told)


def _whole_images(found: Survey) -> dict[tuple[str, Path], _Rejected]:
    """(split, image) -> why the image is left out as a whole."""
    wrong = {}
    for split, images in found.listing.splits.items():
        for image in images:
            problem = next(_against(found, image), None)
            if problem is not None:
                wrong[split, image] = _Rejected(image, problem.line, problem.rule.code, problem.said, "image")
    copies = {p.file: p for p in found.problems if p.rule in (Leaked, Copied)}
    for pair in found.pairs:
        problem = copies.get(pair.image)
        # Of two copies with other labels a person has to say which is right; val and test stay as they are.
        if pair.kind != "same" or pair.split != "train" or problem is None or _contradicts(found, pair.image, problem):
            continue
        said = _Rejected(pair.image, 0, problem.rule.code, problem.said, "image")
        wrong.setdefault(("train", pair.image), said)
    return wrong


def _contradicts(found: Survey, image: Path, problem: Problem) -> bool:
    """Whether an image of train is there again in train, with other labels."""
    pair = next(p for p in found.pairs if p.image == image and p.kind == "same" and p.split == "train")
    return problem.rule is Copied and set(boxes(found.labels[image])) != set(boxes(found.labels[pair.other]))


def _against(found: Survey, image: Path) -> Iterator[Problem]:
    """What speaks against an image as a whole."""
    yield from (problem for problem in found.looks[image].problems if problem.is_error)
    labels = found.labels[image]
    yield from (problem for problem in labels.problems if issubclass(problem.rule, _LABELS_UNUSABLE))
    errors = [p for p in labels.problems if p.is_error and not issubclass(p.rule, _KEPT_AS_BOXES)]
    if errors and not labels.lines:
        # It would be taken for an image with nothing on it.
        yield Problem(rule=errors[0].rule, file=image, said=f"none of its labels can be used: {errors[0].said}")


def _lines(found: Survey, image: Path) -> Iterator[_Rejected]:
    for problem in found.labels[image].problems:
        if problem.file != image and not issubclass(problem.rule, _KEPT_AS_BOXES):
            yield _rejected(problem, "label")


def _rejected(problem: Problem, what: Literal["label", "rest"]) -> _Rejected:
    return _Rejected(problem.file, problem.line, problem.rule.code, problem.said, what)


def _require_enough(found: Survey, kept: Mapping[str, list[_Kept]]) -> None:
    for split in dataset.SPLITS[:2]:
        if not kept.get(split):
            raise InputError(f"{found.listing.source}: no image of {split} could be kept; nothing was written")
    if not any(each.boxes for each in kept["train"]):
        raise InputError(f"{found.listing.source}: no labelled object of train could be kept; nothing was written")


def _write(place: Path, classes: tuple[str, ...], kept: Mapping[str, list[_Kept]], listen: Listener) -> None:
    total, done = sum(map(len, kept.values())), 0
    for split, images in kept.items():
        for kind in ("images", "labels"):
            (place / kind / split).mkdir(parents=True)
        for name, each in zip(_names(images), images, strict=True):
            shutil.copyfile(each.image, place / "images" / split / name)
            if each.told:
                file = (place / "labels" / split / name).with_suffix(".txt")
                file.write_text("".join(map(_line, each.boxes)), encoding="utf-8")
            done += 1
            listen({"done": done, "total": total, "text": f"{done:,} of {total:,} images copied"})
    # Without `path:` everything is relative to this file: the folder can be moved.
    told = {**{split: f"images/{split}" for split in kept}, "names": dict(enumerate(classes))}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    (place / "data.yaml").write_text(text, encoding="utf-8")


def _line(box: Box) -> str:
    return f"{box.label} {box.x:.9g} {box.y:.9g} {box.w:.9g} {box.h:.9g}\n"


def _names(images: list[_Kept]) -> list[str]:
    """A name for each image with the suffix of what it is; none but one has its stem, for that is its labels' name."""
    taken: set[str] = set()
    names = []
    for each in images:
        stem, number = each.image.stem, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{each.image.stem}_{number}"
        taken.add(stem.lower())
        names.append(stem + _suffix(each))
    return names


def _suffix(each: _Kept) -> str:
    given, usual = each.image.suffix, _SUFFIXES[each.kind]
    same = {".jpeg": ".jpg", ".tiff": ".tif"}.get(given.lower(), given.lower()) == usual
    return given if same else usual


def _write_rejected(file: Path, found: Survey, rejected: list[_Rejected]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "line", "rule", "why"))
        for each in sorted(rejected, key=lambda r: (str(r.file), r.line, r.rule)):
            writer.writerow((found.shown(each.file), each.line or "", each.rule, each.why))
