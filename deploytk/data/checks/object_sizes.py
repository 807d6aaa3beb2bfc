"""How large the objects of each class are in pixels of the network's input, and what image size or tiles would help."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploytk.data.checks.rules import Problem, Small, Unseen
from deploytk.data.dataset import Box

#: Of a box's shorter side in pixels of the input: below the first nothing can be learned, below the second (the
#: stride of P3, the finest map of YOLO) little.
UNSEEN_PX, STRIDE_PX = 2.0, 8.0
#: The largest input that is sensible; beyond it, tiles.
LARGEST = 2048
_MULTIPLE = 32


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The shorter side of the boxes of a class, in pixels of a letterboxed input of `imgsz` and of the photo itself."""

    objects: int
    imgsz: int
    median_px: float
    tenth_px: float  # a tenth of the objects are smaller
    photo_px: float  # median, in the photo as it is
    photo: tuple[int, int]  # width and height of a photo with a median object

    @property
    def larger_imgsz(self) -> int | None:
        """The image size at which the median reaches the stride; None where that is larger than is sensible."""
        return larger_imgsz(self.imgsz, self.median_px)

    @property
    def tiles(self) -> tuple[int, int, int]:
        """(across, down, side in the photo): such tiles, scaled to `imgsz`, bring the median to the stride."""
        side = max(1, int(self.imgsz * self.photo_px / STRIDE_PX))
        return (*(math.ceil(length / side) for length in self.photo), side)  # type: ignore[return-value]


def sides(
    labelled: Iterable[tuple[Path, Sequence[Box]]],
    classes: Sequence[str],
    imgsz: int,
    size_of: Callable[[Path], tuple[float, float] | None],
) -> dict[str, Sides]:
    """class -> the sides of its boxes; a class without one is left out.

    Args:
        size_of: width and height of an image, or None where it cannot be read: its boxes do not count.
    """
    found: dict[int, list[tuple[float, float, tuple[int, int]]]] = {}
    for image, boxes in labelled:
        size = size_of(image) if boxes else None
        if size is None:
            continue
        width, height = size
        scale = min(imgsz / width, imgsz / height)  # letterboxed
        for box in boxes:
            photo = min(box.w * width, box.h * height)
            found.setdefault(box.label, []).append((scale * photo, photo, (int(width), int(height))))
    return {classes[label]: _sides(rows, imgsz) for label, rows in sorted(found.items())}


def _sides(rows: list[tuple[float, float, tuple[int, int]]], imgsz: int) -> Sides:
    ranked = sorted(rows)
    _, _, photo = ranked[len(ranked) // 2]
    return Sides(
        objects=len(ranked),
        imgsz=imgsz,
        median_px=round(statistics.median(row[0] for row in ranked), 2),
        tenth_px=round(ranked[len(ranked) // 10][0], 2),
        photo_px=round(statistics.median(row[1] for row in ranked), 2),
        photo=photo,
    )


def larger_imgsz(imgsz: int, side_px: float) -> int | None:
    """The image size, a multiple of 32, at which `side_px` at `imgsz` reaches the stride; None beyond the largest."""
    if side_px <= 0:
        return None
    size = math.ceil(imgsz * STRIDE_PX / side_px / _MULTIPLE) * _MULTIPLE
    return size if size <= LARGEST else None


def check(source: Path, found: Mapping[str, Sides]) -> Iterator[Problem]:
    """The classes whose objects are too small at this image size, with what would help."""
    for name, of in found.items():
        if of.median_px < STRIDE_PX:
            said = f"{name}: {of.median_px:g} px at {of.imgsz} (median of the shorter side); {advice(of)}"
            yield Problem(rule=Unseen if of.median_px < UNSEEN_PX else Small, file=source, said=said)


def advice(of: Sides) -> str:
    """What would bring the median to the stride: an image size or tiles; or that the photos do not hold it."""
    if of.photo_px < STRIDE_PX:
        return f"in the photos themselves they are {of.photo_px:g} px: only closer or sharper photos help"
    if of.larger_imgsz is not None:
        return f"--imgsz {of.larger_imgsz} brings it to {STRIDE_PX:g} px or more"
    across, down, side = of.tiles
    photo = f"{of.photo[0]}x{of.photo[1]}"
    return f"cut the photos ({photo}) into {across} x {down} tiles of {side} px, and train at {of.imgsz}"
