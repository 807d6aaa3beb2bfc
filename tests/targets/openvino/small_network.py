"""Three convolutions as an ONNX file, images for them, and how far a converted model is from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs

from deploytk.runtimes import onnx as onnx_runtime
from deploytk.targets import openvino

Feeds = Callable[[], Iterator[np.ndarray]]


def network(path: Path, outlier: float = 1.0) -> Path:
    """Three convolutions; one channel of the second is `outlier` times as large as the others, and hardly used."""
    random = np.random.default_rng(0)
    kernels = [random.normal(0, 0.3, (8, channels, 3, 3)).astype(np.float32) for channels in (3, 8, 8)]
    kernels[1][0] *= outlier
    kernels[2][:, 0] /= outlier
    pads = {"pads": [1, 1, 1, 1]}
    convolutions = [
        ("Conv", "x w0 b", "a", pads), ("Relu", "a", "b1"),
        ("Conv", "b1 w1 b", "c", pads), ("Relu", "c", "d"),
        ("Conv", "d w2 b", "e", pads), ("Sigmoid", "e", "y"),
    ]  # fmt: skip
    constants = {
        "b": random.normal(0, 0.1, 8).astype(np.float32),
        **{f"w{i}": kernel for i, kernel in enumerate(kernels)},
    }
    names = ["/0/Conv", "/0/Relu", "/1/Conv", "/1/Relu", "/2/Conv", "/Sigmoid"]
    made = onnx_graphs.model(convolutions, constants=constants, shape=("batch", 3, 16, 16), names=names)
    onnx.save(made, path)
    return path


def images(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).random((count, 3, 16, 16), dtype=np.float32)


def feeds(count: int = 8) -> Feeds:
    return lambda: (image[None] for image in images(count))


def expected(path: Path, batch: int = 2) -> np.ndarray:
    session = onnx_runtime.open_session(path, batch=batch, threads=1)
    return next(iter(session.run({"x": images(batch)}).values()))


def noise(path: Path, converted: Path) -> float:
    wanted = expected(path)
    return float(np.abs(openvino.predictor(converted, "f32")(images(2)) - wanted).max())
