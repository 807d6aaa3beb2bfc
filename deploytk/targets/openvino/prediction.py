"""Predictions of an OpenVINO IR on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploytk.runtimes import openvino as runtime

Predict = Callable[[np.ndarray], np.ndarray]


def predictor(path: Path) -> Predict:
    """`predict(NCHW float32) -> the first output` of an IR, image by image.

    Floats are computed in float32, also where OpenVINO would choose bfloat16: what is judged is the model.
    """
    session = runtime.open_session(Path(path), batch=1, threads=None, options={"precision": "f32"})
    source, output = session.inputs[0].name, session.outputs[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        # Each output holds only until the next run.
        rows = [session.run({source: images[i : i + 1]})[output].copy() for i in range(len(images))]
        return np.concatenate(rows)

    return predict
