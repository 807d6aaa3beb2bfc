"""A copy of a dataset under a run folder, for libraries that write where they read.

Ultralytics rewrites JPEGs without an end marker in place and leaves `.cache` files, and finds no labels through
symlinked folders. Hard links would pass the rewrite on to the user's file. So images are copied.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from deploytk.data import dataset
from deploytk.data.dataset import Box, Dataset, Sample
from deploytk.files import write_text, written_whole


@dataclass(frozen=True, kw_only=True)
class View:
    """A dataset in YOLO layout that may be written to; `data` has the same boxes in the same order as the source."""

    folder: Path
    yaml: Path
    data: Dataset
    fingerprint: str


def materialise(source: Dataset, folder: Path) -> View:
    """The view of `source` under `folder`, named after its content: an unchanged dataset is not copied again."""
    fingerprint = source.fingerprint()
    place = folder.resolve() / fingerprint[:16]
    if not (place / "data.yaml").is_file():
        with written_whole(place) as temporary:
            for split, samples in source.splits.items():
                _write_split(temporary, split, samples)
            _write_yaml(temporary / "data.yaml", place, source)
    # The run folder may have been moved since; Ultralytics takes absolute paths only.
    _write_yaml(place / "data.yaml", place, source)
    splits = {
        split: tuple(Sample(_image(place, split, i, s), s.boxes) for i, s in enumerate(samples))
        for split, samples in source.splits.items()
    }
    seen = Dataset(source=place / "data.yaml", classes=source.classes, splits=splits, findings=source.findings)
    return View(folder=place, yaml=place / "data.yaml", data=seen, fingerprint=fingerprint)


def of(path: Path, folder: Path) -> View:
    """The view of the dataset at `path`."""
    return materialise(dataset.read(path), folder)


def _image(place: Path, split: str, index: int, sample: Sample) -> Path:
    # Numbered: two folders may hold the same name, and the order of the source is kept.
    return place / "images" / split / f"{index:07d}{sample.image.suffix.lower()}"


def _write_split(place: Path, split: str, samples: tuple[Sample, ...]) -> None:
    for kind in ("images", "labels"):
        (place / kind / split).mkdir(parents=True)
    for index, sample in enumerate(samples):
        copy = _image(place, split, index, sample)
        shutil.copyfile(sample.image, copy)
        text = "".join(_line(box) for box in sample.boxes)
        (place / "labels" / split / f"{copy.stem}.txt").write_text(text, encoding="utf-8")


def _line(box: Box) -> str:
    return f"{box.label} {box.x:.9f} {box.y:.9f} {box.w:.9f} {box.h:.9f}\n"


def _write_yaml(file: Path, place: Path, source: Dataset) -> None:
    told = {
        "path": str(place),
        **{split: f"images/{split}" for split in source.splits},
        "names": dict(enumerate(source.classes)),
    }
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_text(file, text)
