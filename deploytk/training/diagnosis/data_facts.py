"""What a detection dataset has to do with a failed training: repeated labels, rare classes, objects a pixel wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploytk.data import dataset, images
from deploytk.data.checks import object_sizes
from deploytk.data.dataset import Sample

#: Image sizes are read from the headers of at most so many images, evenly spread.
_LOOKED_AT = 400


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The training split in numbers."""

    source: str
    counts: dict[str, int]  # class -> objects
    repeated: tuple[str, ...] = ()  # sentences about repeated label lines
    imgsz: int = 640
    sides_px: dict[str, float]  # class -> median of the shorter side of its boxes, in pixels of the network's input


def read(path: Path, imgsz: int) -> DataFacts:
    """The facts of a dataset at an input size.

    Raises:
        InputError: it is not there, or its labels are wrong: that is then what to look at first.
    """
    found = dataset.read(path)
    counted = Counter(box.label for sample in found.splits["train"] for box in sample.boxes)
    repeated = tuple(f"{f.where}: {f.message}" for f in found.findings if f.rule == "DATA004")
    return DataFacts(
        source=str(path),
        counts={name: counted[i] for i, name in enumerate(found.classes)},
        repeated=repeated,
        imgsz=imgsz,
        sides_px=_sides(found.splits["train"], found.classes, imgsz),
    )


def _sides(samples: Sequence[Sample], classes: Sequence[str], imgsz: int) -> dict[str, float]:
    labelled = [(s.image, s.boxes) for s in samples if s.boxes]
    step = max(1, len(labelled) // _LOOKED_AT)
    found = object_sizes.sides(labelled[::step], classes, imgsz, images.size_of)
    return {name: of.median_px for name, of in found.items()}
