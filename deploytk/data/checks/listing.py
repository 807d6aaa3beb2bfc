"""The images that a detection dataset names, split by split; where the strict reader stops, this reads on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploytk.data import voc, yolo
from deploytk.data.checks.rules import Missing, NoImageFor, NotInSet, Problem, Rule, Split, Stray, Unread
from deploytk.data.dataset import SPLITS, SUFFIXES, images_in, layout_of
from deploytk.errors import InputError

#: Text files among labels that are none: what labelling tools and exports leave there.
_NO_LABELS = frozenset({"classes", "labels", "predefined_classes", "notes", "obj", *SPLITS, "trainval"})

#: Photos that people have and no training reads.
_UNREAD = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jfif", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a dataset names and where it stands; `classes` is empty where a VOC folder fixes none."""

    source: Path
    root: Path
    is_voc: bool
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Path, ...]]
    problems: tuple[Problem, ...] = ()

    def label_of(self, image: Path) -> Path:
        """Where the labels of an image stand."""
        return voc.annotation_path(self.root, image) if self.is_voc else yolo.label_path(image)

    @property
    def images(self) -> tuple[Path, ...]:
        """Each image once, whatever splits it is in."""
        return tuple(dict.fromkeys(image for images in self.splits.values() for image in images))


def read(path: Path) -> Listing:
    """The images of a YOLO data.yaml (or its folder) or a Pascal-VOC folder.

    Raises:
        InputError: no dataset is there, its data.yaml is wrong, or no split has an image.
    """
    place = layout_of(path)
    listing = _of_voc(place) if place.is_dir() else _of_yolo(place)
    if not listing.images:
        told = [f"{p.file}: {p.said}" for p in listing.problems if p.rule in (Split, Missing)]
        reasons = tuple(told[:8]) or (f"{place}: no split has an image",)
        raise InputError("\n".join(reasons), reasons=reasons)
    return listing


def _of_yolo(path: Path) -> Listing:
    told = yolo.load(path)
    classes = yolo.classes_of(path, told)
    root, findings = yolo.root_of(path, told)
    found = [Problem(rule=Split, file=path, said=f.message) for f in findings if not _all_there(path, root, told)]
    splits = {split: _yolo_split(path, root, split, told, found) for split in SPLITS}
    there = {split: images for split, images in splits.items() if images}
    listing = Listing(source=path, root=root, is_voc=False, classes=classes, splits=there)
    return _with(listing, [*found, *_strays(listing), *_without_image(listing)])


def _all_there(path: Path, root: Path, told: dict[str, Any]) -> bool:
    """Whether all splits are found although `path:` is wrong: then it does no harm here."""
    return all(yolo.place_of(path, root, entry) for split in SPLITS for entry in yolo.entries_of(path, split, told))


def _yolo_split(path: Path, root: Path, split: str, told: dict[str, Any], found: list[Problem]) -> tuple[Path, ...]:
    entries = yolo.entries_of(path, split, told)
    if not entries and split != "test":
        found.append(Problem(rule=Split, file=path, said=f"names no images for {split}"))
    images: dict[Path, None] = {}
    for entry in entries:
        place = yolo.place_of(path, root, entry)
        if place is None:
            found.append(Problem(rule=Split, file=path, said=f"{split}: {entry} is not there"))
            continue
        images |= dict.fromkeys(_in_place(place, found))
    if entries and not images and all(yolo.place_of(path, root, entry) for entry in entries):
        found.append(Problem(rule=Split, file=path, said=f"{split}: no image in {', '.join(entries)}"))
    return tuple(images)


def _in_place(place: Path, found: list[Problem]) -> list[Path]:
    if place.is_dir():
        return images_in(place)
    if place.suffix.lower() in SUFFIXES:
        return [place]
    return list(_there(place, yolo.listed_in(place), lambda name: _file(place.parent / name), found))


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _there(
    file: Path,
    named: list[tuple[int, str]],
    find: Callable[[str], Path | None],
    found: list[Problem],
    rule: type[Rule] = Missing,
) -> Iterator[Path]:
    """The images of a list that are there; each other one is a problem."""
    for line, name in named:
        image = find(name)
        if image is None:
            found.append(Problem(rule=rule, file=file, line=line, said=f"{name} is not there"))
        else:
            yield image


def _of_voc(folder: Path) -> Listing:
    found: list[Problem] = []
    splits = {split: _voc_split(folder, split, found) for split in SPLITS}
    there = {split: images for split, images in splits.items() if images}
    classes = voc.fixed_classes(folder)
    listing = Listing(source=folder, root=folder, is_voc=True, classes=classes, splits=there)
    return _with(listing, [*found, *_strays(listing), *_without_image(listing)])


def _voc_split(folder: Path, split: str, found: list[Problem]) -> tuple[Path, ...]:
    file = voc.list_of(folder, split)
    if file is None:
        if split != "test":
            said = f"no ImageSets/Main/{split}.txt: a VOC folder lists its train and val images"
            found.append(Problem(rule=Split, file=folder, said=said))
        return ()
    named = voc.names_in(file)
    for line, name in named:
        if "/" in name or "\\" in name:
            said = f"{name!r} is a path; only names of images are allowed here"
            found.append(Problem(rule=Missing, file=file, line=line, said=said))
    named = [(line, name) for line, name in named if "/" not in name and "\\" not in name]
    there = _there(file, named, lambda name: voc.image_of(folder, name), found, NotInSet)
    images = tuple(dict.fromkeys(there))
    if not images:
        found.append(Problem(rule=Split, file=file, said="none of its images is in JPEGImages"))
    return images


def _with(listing: Listing, found: list[Problem]) -> Listing:
    return replace(listing, problems=tuple(found))


def _strays(listing: Listing) -> Iterator[Problem]:
    for folder in _folders(listing.images):
        for file in sorted(folder.iterdir()):
            if file.name.startswith("._") and file.suffix.lower() in SUFFIXES:
                yield Problem(rule=Stray, file=file, said="left by macOS; it is no image and is not read")
            elif file.suffix.lower() in _UNREAD and not file.name.startswith("."):
                yield Problem(rule=Unread, file=file, said=f"{file.suffix} is not read")


def _without_image(listing: Listing) -> Iterator[Problem]:
    """Label files that belong to no image: of the folders that hold the labels of these images."""
    if listing.is_voc:
        stems = {image.stem for image in images_in(listing.root / "JPEGImages")}
        files = sorted((listing.root / "Annotations").glob("*.xml"))
        lost = [file for file in files if file.stem not in stems and not file.name.startswith(".")]
    else:
        expected = {listing.label_of(image) for image in listing.images}
        files = [file for folder in _folders(tuple(expected)) for file in sorted(folder.glob("*.txt"))]
        lost = [file for file in files if file not in expected and _is_label(file)]
    yield from (Problem(rule=NoImageFor, file=file, said="no image of that name") for file in lost)


def _is_label(file: Path) -> bool:
    stem = file.stem.lower()
    if stem in _NO_LABELS or stem.startswith((".", "readme", "license")):
        return False
    # An image of another split, or one that no split names, may stand beside it.
    beside = _image_folder(file.parent) or file.parent
    return not any((beside / f"{file.stem}{suffix}").is_file() for suffix in (*SUFFIXES, ".JPG", ".JPEG", ".PNG"))


def _image_folder(labels: Path) -> Path | None:
    """`a/images/train` for `a/labels/train`."""
    parts = list(labels.parts)
    places = [i for i, part in enumerate(parts) if part == "labels"]
    if not places:
        return None
    parts[places[-1]] = "images"
    return Path(*parts)


def _folders(files: tuple[Path, ...]) -> list[Path]:
    return [folder for folder in dict.fromkeys(file.parent for file in files) if folder.is_dir()]
