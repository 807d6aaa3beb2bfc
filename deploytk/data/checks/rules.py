"""The rules of the data check: each a small class whose docstring is the sentence in docs/data-check.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deploytk.report import Severity


class Rule:
    """A rule of the data check."""

    code: ClassVar[str]
    severity: ClassVar[Severity]
    fix: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One place where a rule does not hold. `said` names neither file nor line."""

    rule: type[Rule]
    file: Path
    said: str
    line: int = 0  # 0: the whole file

    @property
    def is_error(self) -> bool:
        """Whether it stops a training, or makes what comes out of it wrong."""
        return self.rule.severity == "error"


class Missing(Rule):
    """Every image that a list names is there and can be opened."""

    code, severity = "DAT001", "error"
    fix = "copy it again from where it came from, or take it off the list"


class Empty(Rule):
    """No image is an empty file."""

    code, severity = "DAT002", "error"
    fix = "copy it again from where it came from"


class NoImage(Rule):
    """What is named like an image is one, in a format that is read: no web page, git-lfs pointer or macOS `._` file."""

    code, severity = "DAT003", "error"
    fix = "fetch or convert the real image, or remove the file"


class Suffix(Rule):
    """The name of an image says the format it is in."""

    code, severity = "DAT004", "warning"
    fix = "rename it; tools that go by the name fail on it"


class Truncated(Rule):
    """An image goes on to its end marker (PIL's verify does not look: it passes truncated JPEGs)."""

    code, severity = "DAT005", "error"
    fix = "copy it again from where it came from; Ultralytics drops such a JPEG, or rewrites it in place"


class Header(Rule):
    """The header of an image can be read, and its size is no decompression bomb's."""

    code, severity = "DAT006", "error"
    fix = "copy it again from where it came from"


class Tiny(Rule):
    """An image has at least 10 pixels a side: Ultralytics drops smaller ones."""

    code, severity = "DAT007", "error"
    fix = "remove it"


class Turned(Rule):
    """No image has an EXIF orientation other than 1: some tools turn it, some do not; the labels fit one of them."""

    code, severity = "DAT008", "warning"
    fix = "look whether the boxes fit the picture as it is shown; turn the pixels and drop the tag"


class Corrupt(Rule):
    """An image can be decoded to its end, without a complaint of the decoder about its data (`--deep`)."""

    code, severity = "DAT009", "error"
    fix = "copy it again from where it came from"


class Odd(Rule):
    """The decoder has nothing to remark about a JPEG that it can decode (`--deep`)."""

    code, severity = "DAT010", "warning"
    fix = "look at it; where it is as it should be, save it again"


class Split(Rule):
    """The images of train and val are there, and so is what data.yaml says of others."""

    code, severity = "DAT011", "error"
    fix = "correct the path in data.yaml, or the list in ImageSets"


class Stray(Rule):
    """No macOS `._` files lie among the images: they are named like images and are none."""

    code, severity = "DAT012", "info"
    fix = "remove them; they are not read here"


class NotInSet(Rule):
    """Every image that an ImageSets list (Pascal-VOC) names is in JPEGImages."""

    code, severity = "DAT013", "warning"
    fix = "bring them back, or take them off the list; a training uses the others"


class Unread(Rule):
    """No photo among the images is in a format that is not read (HEIC, AVIF, GIF, raw): it would be passed over."""

    code, severity = "DAT014", "warning"
    fix = "convert it to JPEG or PNG"


class Hole(Rule):
    """No block within a JPEG is zeros: lost by a disk or a download (Pillow and OpenCV decode such a file)."""

    code, severity = "DAT015", "error"
    fix = "copy it again from where it came from"


class Number(Rule):
    """A label line is made of numbers."""

    code, severity = "DAT020", "error"
    fix = "correct the line: class x y w h, as fractions of the image"


class Count(Rule):
    """A label line has 5 numbers, or a class and a polygon; a VOC object has a whole bndbox."""

    code, severity = "DAT021", "error"
    fix = "correct the line: class x y w h, as fractions of the image"


class OutOfRange(Rule):
    """The class of a label is one of those that the dataset names."""

    code, severity = "DAT022", "error"
    fix = "correct the class, or name it in data.yaml (or classes.txt)"


class Outside(Rule):
    """Coordinates are finite and on the image: from 0 to 1, in VOC from 1 to width and height."""

    code, severity = "DAT023", "error"
    fix = "correct the numbers; in a YOLO line they are fractions of the width and height of the image"


class NoArea(Rule):
    """A box has an area."""

    code, severity = "DAT024", "error"
    fix = "remove the line"


class Repeated(Rule):
    """No label line is there twice."""

    code, severity = "DAT025", "warning"
    fix = "remove the second; each counts once in training"


class NearlyRepeated(Rule):
    """No two boxes of one class are nearly the same (IoU above 0.95): an object was labelled twice."""

    code, severity = "DAT026", "warning"
    fix = "remove one of them"


class Turnable(Rule):
    """Boxes are upright: of lines with four corner points (Ultralytics OBB) a detector learns the box around them."""

    code, severity = "DAT027", "info"
    fix = "nothing to do, unless the angle matters: then train an OBB model"


class Dota(Rule):
    """No line is in DOTA's format (corners in pixels, class name, difficulty), which YOLO's training does not read."""

    code, severity = "DAT028", "error"
    fix = "--fix OUT writes the boxes around them as YOLO lines"


class Unreadable(Rule):
    """A label file can be read: text in UTF-8, or XML."""

    code, severity = "DAT029", "error"
    fix = "write it again"


class NoImageFor(Rule):
    """Every label file has its image."""

    code, severity = "DAT030", "warning"
    fix = "bring the image back, or remove the label file; nothing is learned from it"


class NoLabelFor(Rule):
    """Every image has a label file; an empty one says that nothing is on it."""

    code, severity = "DAT031", "warning"
    fix = "label it, or leave an empty file beside it: without labels it teaches that nothing is there"


class OtherSize(Rule):
    """The size in a VOC annotation is the image's, or has its shape: boxes are fractions of it."""

    code, severity = "DAT032", "error"
    fix = "label the image as it is now; its boxes are in the wrong places"


class Beyond(Rule):
    """A box ends where the image ends, by 1 % of its side at most."""

    code, severity = "DAT033", "warning"
    fix = "look at it: a box that goes on outside was moved, or its numbers are not centre, width and height"


class NotInTrain(Rule):
    """Every class has an object in train."""

    code, severity = "DAT040", "warning"
    fix = "label some, or take the class out: what is never seen is never learned"


class OnlyElsewhere(Rule):
    """No class is in val or test alone: its metric is 0 whatever is trained."""

    code, severity = "DAT041", "warning"
    fix = "move some of its images to train"


class Rare(Rule):
    """A class has 10 objects or more in train; of a manifest as many images as `--least` says (10)."""

    code, severity = "DAT042", "warning"
    fix = "label more of them, or leave the class out"


class Imbalance(Rule):
    """No class has 100 times as many objects in train as another."""

    code, severity = "DAT043", "warning"
    fix = "label more of the rare one; look at the metrics of each class, not at their mean alone"


class Leaked(Rule):
    """No image of val or test is in train too, under whatever name: such metrics say nothing about new images."""

    code, severity = "DAT050", "error"
    fix = "remove the copy in train (--fix does; of a manifest --remove-corrupt)"


class Shared(Rule):
    """No image is in both val and test."""

    code, severity = "DAT051", "warning"
    fix = "remove one of them: the test is there to be independent of the choice by val"


class NearlyLeaked(Rule):
    """No image of val or test looks the same as one of train: resized, saved again, the next frame (`--deep`)."""

    code, severity = "DAT052", "warning"
    fix = "look at the pair; keep what was taken together in one split"


class Copied(Rule):
    """No image is in a split twice under two names."""

    code, severity = "DAT053", "warning"
    fix = "remove one of them, the one with the worse labels where they differ"


class Unseen(Rule):
    """At this image size the shorter side of a class's objects is 2 pixels or more (median): less cannot be learned."""

    code, severity = "DAT060", "error"
    fix = "train larger, or on tiles"


class Small(Rule):
    """At this image size the shorter side of a class's objects is 8 pixels or more (median): YOLO's finest stride."""

    code, severity = "DAT061", "warning"
    fix = "train larger, or on tiles"


class NoName(Rule):
    """Every row of a manifest has a path and a label."""

    code, severity = "DAT070", "error"
    fix = "label it, or remove the row (--remove-corrupt does)"


class WrongBox(Rule):
    """A box in a manifest is four numbers in pixels, with an area, and begins on its image."""

    code, severity = "DAT071", "error"
    fix = "correct x1, y1, x2, y2, or leave all four empty where there is no box"


class Conflict(Rule):
    """A picture has one label in a manifest, wherever it is listed and whatever its copies are called."""

    code, severity = "DAT072", "error"
    fix = "look at it and keep the right one: what is learned from one row is unlearned from the other"


class TwoSplits(Rule):
    """No path of a manifest is in train and in val or test."""

    code, severity = "DAT073", "error"
    fix = "remove the row of train (--remove-corrupt does)"


class Listed(Rule):
    """No row of a manifest is there twice."""

    code, severity = "DAT074", "warning"
    fix = "remove the second; each counts once in training (--remove-corrupt removes those of train)"


class NearlyNamed(Rule):
    """No two labels of a manifest differ only in case, in spaces, or in how Unicode writes a character."""

    code, severity = "DAT075", "warning"
    fix = "write them alike, unless they are two classes"


class Unused(Rule):
    """Every column of a manifest has a meaning here: path, label, split, x1, y1, x2, y2."""

    code, severity = "DAT076", "info"
    fix = "nothing to do where it is meant for something else; a cleaned copy keeps it"


RULES: tuple[type[Rule], ...] = tuple(sorted(Rule.__subclasses__(), key=lambda rule: rule.code))
