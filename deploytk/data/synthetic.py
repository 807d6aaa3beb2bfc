"""A small labelled detection set, drawn: the same seed gives the same bytes, and each image depends on nothing else.

The shapes are signed distance fields, so edges are smooth and boxes exact; colour, size, rotation, texture and light
are drawn apart from the class, so that only the shape tells it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value, write_text, written_whole
from deploytk.worker import Listener

CLASSES = ("capsule", "tablet", "ring", "block")
SPLITS = ("train", "val")

#: Changes when the drawing changes, so that an older set is drawn again.
VERSION = 1
_MARK = "demo-data.json"

Array = np.ndarray
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One object: which, where, how large (half its length in pixels) and how it is turned (radians)."""

    label: int
    x: float
    y: float
    size: float
    angle: float
    ratio: float  # slimness, its meaning depends on the class


def make_dataset(
    out: Path, *, train: int, val: int, imgsz: int = 160, seed: int = 0, listen: Listener | None = None
) -> Path:
    """The data.yaml of a set with `train` and `val` square images in YOLO layout; not drawn again where it stands.

    Args:
        listen: called with `{"done": images, "total": images}` as they are drawn.

    Raises:
        InputError: a number is out of range, or `out` holds something that deploytk did not draw.
    """
    _refuse_bad_numbers(train, val, imgsz, seed)
    wanted = {"version": VERSION, "train": train, "val": val, "imgsz": imgsz, "seed": seed}
    if _stands(out, wanted):
        return out / "data.yaml"
    with written_whole(out) as folder:
        for split, count, before in zip(SPLITS, (train, val), (0, train), strict=True):
            for done in _write_split(folder, split, count, imgsz, seed):
                if listen:
                    listen({"done": before + done, "total": train + val})
        _write_texts(folder, wanted)
    return out / "data.yaml"


def draw(split: str, index: int, *, imgsz: int = 160, seed: int = 0) -> tuple[Image.Image, list[tuple[int, Box]]]:
    """One image and its (class, box) list; the splits never share a random stream."""
    rng = np.random.default_rng([VERSION, seed, SPLITS.index(split), index])
    canvas = _background(rng, imgsz)
    shapes = _placed(rng, imgsz)
    for shape in shapes:
        _paint(canvas, shape, rng)
    return _photographed(canvas, rng), [(s.label, b) for s in shapes if (b := _box(s, imgsz))]


def _refuse_bad_numbers(train: int, val: int, imgsz: int, seed: int) -> None:
    for name, value, least in (("train", train, 1), ("val", val, 1), ("imgsz", imgsz, 64), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"demo-data: {name} must be at least {least}, not {value}")


def _stands(out: Path, wanted: dict[str, Any]) -> bool:
    """Whether exactly this set already stands at `out`, whole.

    Raises:
        InputError: something else stands there, which must not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        mark = json.loads((out / _MARK).read_text(encoding="utf-8"))
        drawn = mark["drawn"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out}: not empty and not drawn by deploytk; name a new folder") from error
    return bool(drawn == wanted and mark["sha256"] == _contents(out))


def _write_split(folder: Path, split: str, count: int, imgsz: int, seed: int) -> Iterator[int]:
    """Write the images and labels of one split; how many stand after each."""
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        image, objects = draw(split, index, imgsz=imgsz, seed=seed)
        image.save(images / f"{split}_{index:05d}.jpg", quality=92, subsampling=0)
        lines = [f"{label} {_yolo(box, imgsz)}\n" for label, box in objects]
        (labels / f"{split}_{index:05d}.txt").write_text("".join(lines), encoding="utf-8")
        yield index + 1


def _write_texts(folder: Path, wanted: dict[str, Any]) -> None:
    # No `path:` key: what is relative is then relative to data.yaml, wherever the folder is moved to.
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    write_text(folder / "data.yaml", f"train: images/train\nval: images/val\nnames:\n{names}")
    mark = {"drawn": wanted, "sha256": _contents(folder)}
    write_text(folder / _MARK, json.dumps(mark, indent=2) + "\n")


def _contents(folder: Path) -> str:
    parts = {part: sha256_of(folder / part) for part in ("images", "labels", "data.yaml") if (folder / part).exists()}
    return sha256_of_value(parts)


def _yolo(box: Box, imgsz: int) -> str:
    left, top, right, bottom = box
    values = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return " ".join(f"{value / imgsz:.6f}" for value in values)


# ---- what stands where ------------------------------------------------------------------------------------------


def _placed(rng: np.random.Generator, imgsz: int) -> list[Shape]:
    """One to six shapes (none in one image of 25) that may touch and overlap a little, never hide each other."""
    wanted = 0 if rng.random() < 0.04 else int(rng.integers(1, 7))
    placed: list[Shape] = []
    for _ in range(wanted * 8):
        if len(placed) == wanted:
            break
        shape = _random_shape(rng, imgsz)
        if all(_hidden(other, shape, imgsz) < 0.3 for other in placed):
            placed.append(shape)
    return placed


def _random_shape(rng: np.random.Generator, imgsz: int) -> Shape:
    size = imgsz * rng.uniform(0.07, 0.2)
    return Shape(
        label=int(rng.integers(len(CLASSES))),
        x=rng.uniform(0.5 * size, imgsz - 0.5 * size),
        y=rng.uniform(0.5 * size, imgsz - 0.5 * size),
        size=size,
        angle=rng.uniform(0, np.pi),
        ratio=rng.uniform(0, 1),
    )


def _hidden(one: Shape, other: Shape, imgsz: int) -> float:
    """The share of the smaller box that lies in the other box."""
    a, b = _box(one, imgsz), _box(other, imgsz)
    if not a or not b:
        return 0.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0.0, width) * max(0.0, height) / smaller


def _box(shape: Shape, imgsz: int) -> Box | None:
    """The smallest box around the pixels of a shape inside the image; None where hardly any are."""
    inside = _distance(shape, imgsz)[0] < 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size < 4 or columns.size < 4:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


# ---- shapes as signed distances: negative inside, in pixels ---------------------------------------------------------


def _distance(shape: Shape, imgsz: int, shift: float = 0.0) -> tuple[Array, Array, Array]:
    """The signed distance to the shape's edge at each pixel, and the pixel's place along and across the shape."""
    rows, columns = np.mgrid[0:imgsz, 0:imgsz] + 0.5
    dx, dy = columns - shape.x - shift, rows - shape.y - shift
    along = dx * np.cos(shape.angle) + dy * np.sin(shape.angle)
    across = dy * np.cos(shape.angle) - dx * np.sin(shape.angle)
    return _FIELDS[CLASSES[shape.label]](along, across, shape), along, across


def _capsule(along: Array, across: Array, shape: Shape) -> Array:
    radius = shape.size * (0.36 + 0.14 * shape.ratio)
    return np.asarray(np.hypot(np.maximum(np.abs(along) - (shape.size - radius), 0), across) - radius)


def _tablet(along: Array, across: Array, shape: Shape) -> Array:
    return np.asarray(np.hypot(along, across / (0.8 + 0.2 * shape.ratio)) - 0.8 * shape.size)


def _ring(along: Array, across: Array, shape: Shape) -> Array:
    half = shape.size * (0.16 + 0.1 * shape.ratio)
    return np.asarray(np.abs(np.hypot(along, across) - (0.85 * shape.size - half)) - half)


def _block(along: Array, across: Array, shape: Shape) -> Array:
    round_, half = 0.12 * shape.size, 0.8 * shape.size
    x = np.abs(along) - half + round_
    y = np.abs(across) - half * (0.55 + 0.45 * shape.ratio) + round_
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - round_)


_FIELDS: dict[str, Callable[[Array, Array, Shape], Array]] = {
    "capsule": _capsule,
    "tablet": _tablet,
    "ring": _ring,
    "block": _block,
}

# ---- paint and light ----------------------------------------------------------------------------------------------


def _paint(canvas: Array, shape: Shape, rng: np.random.Generator) -> None:
    """Draw the shape over the canvas: a soft shadow, a body lit from one side, marks on some."""
    imgsz = canvas.shape[0]
    shadow, _, _ = _distance(shape, imgsz, shift=rng.uniform(1, 0.15 * shape.size + 1))
    canvas *= 1 - rng.uniform(0.1, 0.45) * np.clip(0.5 - shadow / 5, 0, 1)[..., None]
    distance, along, across = _distance(shape, imgsz)
    colour = _colour(rng, canvas[int(shape.y) % imgsz, int(shape.x) % imgsz])
    body = np.broadcast_to(colour, canvas.shape).copy()
    if rng.random() < 0.4:  # two halves, as many capsules have
        body[along > 0] = _colour(rng, colour)
    if rng.random() < 0.3:  # a score line
        body[np.abs(across) < max(0.7, 0.06 * shape.size)] *= 0.7
    light = rng.uniform(0, 2 * np.pi)
    lit = (along * np.cos(light) + across * np.sin(light)) / shape.size
    rim = np.clip(distance / (0.3 * shape.size) + 1, 0, 1)
    body *= (0.9 + rng.uniform(0.05, 0.3) * lit + 0.15 * rim)[..., None]
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    canvas += cover * (body - canvas)


def _colour(rng: np.random.Generator, behind: Array) -> Array:
    """A colour that can just be told from what is behind it."""
    for _ in range(20):
        colour = rng.uniform(0.05, 1.0, 3)
        if np.abs(colour - behind).max() > 0.2:
            break
    return np.asarray(colour)


def _background(rng: np.random.Generator, imgsz: int) -> Array:
    """A textured surface, float RGB 0..1: cloudy, striped, checked or speckled."""
    rows, columns = np.mgrid[0:imgsz, 0:imgsz] / imgsz
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 16)
    wave = 2 * np.pi * period * (columns * np.cos(angle) + rows * np.sin(angle)) + 3 * _clouds(rng, imgsz)
    other = 2 * np.pi * period * (rows * np.cos(angle) - columns * np.sin(angle))
    textures = (
        _clouds(rng, imgsz),
        np.sin(wave),
        np.sign(np.sin(wave) * np.sin(other)),
        rng.normal(0, 1, (imgsz, imgsz)),
    )
    texture = textures[rng.integers(len(textures))] * rng.uniform(0.02, 0.12) + 0.06 * _clouds(rng, imgsz)
    return np.asarray(np.clip(rng.uniform(0.15, 0.85, 3) + texture[..., None], 0, 1))


def _clouds(rng: np.random.Generator, imgsz: int) -> Array:
    """Smooth noise of about -1..1."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (6, 6)).astype(np.float32))
    return np.asarray(coarse.resize((imgsz, imgsz), Image.Resampling.BICUBIC), dtype=np.float64)


def _photographed(canvas: Array, rng: np.random.Generator) -> Image.Image:
    """The canvas as a cheap camera sees it: uneven light, a little blur, noise."""
    light = rng.uniform(0.65, 1.15) * (1 + rng.uniform(0, 0.25) * _clouds(rng, canvas.shape[0]))
    seen = canvas * light[..., None] + rng.normal(0, rng.uniform(0.005, 0.035), canvas.shape)
    image = Image.fromarray((np.clip(seen, 0, 1) * 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
