"""Predictions of an OpenVINO IR on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploytk.runtimes import openvino as runtime

Predict = Callable[[np.ndarray], np.ndarray]


def predictor(path: Path, precision: str | None = None) -> Predict:
    """`predict(NCHW float32) -> the first output` of an IR, image by image.

    Args:
        precision: the floats to compute in (f32, bf16 or f16). By default OpenVINO chooses, bfloat16 where the CPU has
            it: what is judged is what `bench` times and what runs after deployment.
    """
    options = {"precision": precision} if precision else {}
    session = runtime.open_session(Path(path), batch=1, threads=None, options=options)
    source, output = session.inputs[0].name, session.outputs[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        # Each output holds only until the next run.
        rows = [session.run({source: images[i : i + 1]})[output].copy() for i in range(len(images))]
        return np.concatenate(rows)

    return predict
