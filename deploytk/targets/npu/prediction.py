"""Predictions of a float or INT8 LiteRT file made by `convert` and `quantize`, on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploytk.errors import InputError
from deploytk.runtimes import litert
from deploytk.targets.npu.proof import dequantized, quantized

Predictor = Callable[[np.ndarray], list[np.ndarray]]


def predictor(path: Path, threads: int | None = None) -> Predictor:
    """`predict(NCHW float32 0..1) -> raw maps (NCHW float32)`, in the order of the model's outputs, image by image."""
    session = litert.open_session(Path(path), batch=None, threads=threads)
    if len(session.inputs) != 1 or len(session.inputs[0].shape) != 4:
        raise InputError(f"{path}: takes no single image (batch, height, width, channels)")
    spec = session.inputs[0]

    def one(image: np.ndarray) -> list[np.ndarray]:
        rows = session.run({spec.name: quantized(image.transpose(1, 2, 0)[None], spec)})
        return [_channels_first(dequantized(rows[o.name], o)) for o in session.outputs]

    def predict(images: np.ndarray) -> list[np.ndarray]:
        each = [one(image) for image in images]
        return [np.concatenate(maps) for maps in zip(*each, strict=True)]

    return predict


def _channels_first(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == 4 else values
