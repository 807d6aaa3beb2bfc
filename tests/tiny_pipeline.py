"""A pipeline of a few operators: it finds red and magenta squares, and calls them "007" and "042" by their blue.

The detector's input has 32 pixels a side. It sees a square that fills one of its cells of 8 pixels, with the score 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs
from onnx import TensorProto, helper
from PIL import Image, ImageDraw

from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.pipelines import folder
from deploytk.pipelines.description import Described

SIDE, ANCHORS, CROP = 32, 21, 8
NAMES = ("007", "042")
COLOURS = {"007": "red", "042": "magenta"}
FINDS = Preparation(kind="letterbox", size=(SIDE, SIDE))
NAMES_IT = Preparation(kind="resize", size=(CROP, CROP))

Square = tuple[int, int, int, int]


def detector(path: Path, batch: int | str = "batch") -> Path:
    """`x` (batch, 3, 32, 32) -> `y` (batch, 5, 21): the cells of three strides, with how red they are as score."""
    centres = [
        ((i + 0.5) * s, (j + 0.5) * s, s, s) for s in (8, 16, 32) for j in range(SIDE // s) for i in range(SIDE // s)
    ]
    pools = [("AveragePool", "d", f"p{s}", {"kernel_shape": [s, s], "strides": [s, s]}) for s in (8, 16, 32)]
    flat = [("Reshape", f"p{s} rows", f"f{s}") for s in (8, 16, 32)]
    nodes = [
        ("Conv", "x w", "d"),
        *pools,
        *flat,
        ("Concat", "f8 f16 f32", "s", {"axis": 2}),
        ("Mul", "s zero", "z"),
        ("Add", "z boxes", "b"),
        ("Concat", "b s", "y", {"axis": 1}),
    ]
    constants = {
        "w": np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1),
        "rows": np.array([0, 1, -1], np.int64),
        "zero": np.array([0], np.float32),
        "boxes": np.array(centres, np.float32).T[None],
    }
    return _saved(path, nodes, constants, [batch, 3, SIDE, SIDE], [batch, 5, ANCHORS])


def classifier(path: Path, batch: int | str = "batch", blue: float = 10.0) -> Path:
    """`x` (batch, 3, 8, 8) -> `y` (batch, 2): logits by the mean blue."""
    nodes = [("GlobalAveragePool", "x", "m"), ("Conv", "m w bias", "c"), ("Flatten", "c", "y")]
    weights = np.array([[0, 0, -blue], [0, 0, blue]], np.float32).reshape(2, 3, 1, 1)
    constants = {"w": weights, "bias": np.array([blue / 2, -blue / 2], np.float32)}
    return _saved(path, nodes, constants, [batch, 3, CROP, CROP], [batch, 2])


def write(out: Path, *, batch: int | str = "batch", blue: float = 10.0, **more: Any) -> Described:
    """The pipeline in a folder; `batch` is the classifier's own."""
    models = out.parent / f"{out.name}-models"
    models.mkdir(parents=True, exist_ok=True)
    first, second = detector(models / "d.onnx"), classifier(models / "c.onnx", batch, blue)
    given: dict[str, Any] = {
        "runtime": "onnx",
        "threads": 1,
        "crops": Crops(most=4),
        "detector": folder.Model(file=first, labels=["thing"], preparation=FINDS, settings={"score_above": 0.5}),
        "classifier": folder.Model(file=second, labels=NAMES, preparation=NAMES_IT, settings={"batch": 2, "top_k": 2}),
    }
    return folder.write(out, **{**given, **more})


def photo(path: Path, squares: Sequence[tuple[str, Square]], size: tuple[int, int] = (64, 64)) -> Path:
    """An image file with coloured squares, each a name and its corners in pixels (the last ones outside)."""
    image = Image.new("RGB", size, "white")
    for name, (left, top, right, bottom) in squares:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), COLOURS[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def dataset(root: Path, photos: Sequence[Sequence[tuple[str, Square]]], names: Sequence[str] = NAMES) -> Path:
    """A data.yaml whose `train` and `val` are these photos of 64 pixels a side."""
    for split in ("train", "val"):
        for number, squares in enumerate(photos):
            photo(root / "images" / split / f"{split}{number}.png", squares)
            lines = [
                f"{names.index(name)} {(a + c) / 128} {(b + d) / 128} {(c - a) / 64} {(d - b) / 64}\n"
                for name, (a, b, c, d) in squares
            ]
            label = root / "labels" / split / f"{split}{number}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("".join(lines), encoding="utf-8")
    listed = ", ".join(f'"{name}"' for name in names)
    told = f"path: .\ntrain: images/train\nval: images/val\nnames: [{listed}]\n"
    (root / "data.yaml").write_text(told, encoding="utf-8")
    return root / "data.yaml"


def _saved(path: Path, nodes: Any, constants: Any, shape: list[int | str], out: list[int | str]) -> Path:
    made = onnx_graphs.model(nodes, constants=constants, shape=shape)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, out))
    onnx.save(made, path)
    return path
