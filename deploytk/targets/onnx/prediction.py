"""Predictions of a float or INT8 ONNX file, by ONNX Runtime on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploytk.runtimes import onnx as runtime


def predictor(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """`predict(NCHW float32) -> the first output` of an ONNX file, image by image where its batch is fixed."""
    session = runtime.open_session(path, batch=1, threads=None)
    name = session.inputs[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        rows = [next(iter(session.run({name: images[i : i + 1]}).values())) for i in range(len(images))]
        return np.concatenate(rows)

    return predict
