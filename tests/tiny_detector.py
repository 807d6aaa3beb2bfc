"""A detector of two convolutions with two heads and a decoding, in ONNX: what the tests of INT8 run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs

NAMES = ("c1", "r1", "c2", "r2", "boxes", "scores", "flat_b", "flat_s", "pixels", "sigmoid", "out")
SIZE = 16


def write(path: Path, *, outlier: float = 1.0, opset: int = 17, batch: int | str = "batch") -> Path:
    """`x` (batch, 3, 16, 16) -> `y` (batch, 4 boxes in pixels + 2 scores, 256).

    With an outlier one channel between the convolutions is that much larger, and the next weights make up for it.
    """
    draw = np.random.default_rng(0).normal
    w1, w2 = draw(0, 0.4, (8, 3, 3, 3)), draw(0, 0.2, (8, 8, 3, 3))
    w1[3], w2[:, 3] = w1[3] * outlier, w2[:, 3] / outlier
    constants = {
        "w1": w1,
        "b1": np.array([0.1] * 8),
        "w2": w2,
        "wb": draw(0, 0.1, (4, 8, 1, 1)),
        "bb": np.full(4, 0.5),
        "ws": draw(0, 0.5, (2, 8, 1, 1)),
        "bs": np.full(2, -2.0),
        "shape_b": np.array([-1, 4, SIZE * SIZE], np.int64),
        "shape_s": np.array([-1, 2, SIZE * SIZE], np.int64),
        "image": 300.0,
    }
    nodes = [
        ("Conv", "x w1 b1", "t1", {"pads": [1, 1, 1, 1]}),
        ("Relu", "t1", "a1"),
        ("Conv", "a1 w2", "t2", {"pads": [1, 1, 1, 1]}),
        ("Relu", "t2", "a2"),
        ("Conv", "a2 wb bb", "raw_b"),
        ("Conv", "a2 ws bs", "raw_s"),
        ("Reshape", "raw_b shape_b", "rows_b"),
        ("Reshape", "raw_s shape_s", "rows_s"),
        ("Mul", "rows_b image", "xyxy"),
        ("Sigmoid", "rows_s", "conf"),
        ("Concat", "xyxy conf", "y", {"axis": 1}),
    ]
    typed = {k: v if np.asarray(v).dtype == np.int64 else np.asarray(v, np.float32) for k, v in constants.items()}
    made = onnx_graphs.model(nodes, constants=typed, shape=(batch, 3, SIZE, SIZE), names=NAMES, opset=opset)
    onnx.save(made, path)
    return path


def feeds(count: int = 4) -> Iterator[np.ndarray]:
    """Images with something in them: smooth, and brighter on one side."""
    for seed in range(count):
        noise = np.random.default_rng(seed).random((1, 3, SIZE, SIZE), dtype=np.float32)
        yield (noise * np.linspace(0.2, 1, SIZE, dtype=np.float32)).astype(np.float32)
