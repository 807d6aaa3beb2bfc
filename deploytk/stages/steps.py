"""What runs inside child processes: one function per risky step, JSON-like in and out.

Here backends and targets meet: each function loads both by name and hands the result of one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins
from deploytk.files import written_whole

Predict = Callable[[np.ndarray], np.ndarray]


def train(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """Train the profile's model into the run folder; the summary of the training."""
    backend = plugins.load("backends", profile["backend"])
    summary: dict[str, Any] = backend.train(profile, run)
    return summary


def onnx_from_checkpoint(backend: str, checkpoint: str, out: str, opset: int) -> None:
    """Write the ONNX of a checkpoint."""
    plugins.load("backends", backend).onnx_from_checkpoint(Path(checkpoint), Path(out), opset)


def convert(backend: str, target: str, checkpoint: str, out: str) -> None:
    """Write the float model of a target from a checkpoint's torch module."""
    source = plugins.load("backends", backend)
    described = source.describe(Path(checkpoint))
    module = source.torch_module(Path(checkpoint))
    plugins.load("targets", target).convert(module, described["imgsz"], Path(out))


def ir_from_onnx(onnx: str, out: str, precision: str) -> dict[str, Any]:
    """Write the OpenVINO IR of an ONNX file; facts about it."""
    facts: dict[str, Any] = plugins.load("targets", "openvino").convert(Path(onnx), Path(out), precision)
    return facts


def real_inputs(profile: dict[str, Any], run: str, count: int, out: str) -> None:
    """Write `count` validation images, prepared as at inference, as an .npz (images: (N, 3, S, S) float32 0..1)."""
    images = plugins.load("backends", profile["backend"]).samples(profile, "val", count, 0, run)
    with written_whole(Path(out)) as partial, partial.open("wb") as stream:
        np.savez(stream, images=np.concatenate(list(images)))


def proof(profile: dict[str, Any], run: str, checkpoint: str, model: str, runtime: str, images: int) -> dict[str, Any]:
    """What `model` does beside the trained model, through the same code for every format.

    Returns:
        metrics: the task metrics on the validation split.
        agreement: how far the decoded outputs are from the torch module's on `images` validation images, for boxes
            and scores apart (boxes count in pixels and would hide the scores): max_abs, mean_abs, cosine, sqnr_db.
    """
    backend = plugins.load("backends", profile["backend"])
    predict = _predictor(backend, Path(checkpoint), Path(model), runtime)
    metrics: dict[str, float] = backend.score(predict, profile, Path(checkpoint), run)
    if runtime == "torch":
        return {"metrics": metrics, "agreement": {}}
    reference = _predictor(backend, Path(checkpoint), Path(checkpoint), "torch")
    feeds = list(backend.samples(profile, "val", images, 0, run))
    expected = np.concatenate([reference(feed) for feed in feeds]).astype(np.float64)
    got = np.concatenate([predict(feed) for feed in feeds]).astype(np.float64)
    return {"metrics": metrics, "agreement": {"images": len(feeds), **compared(expected, got)}}


def compared(expected: np.ndarray, got: np.ndarray) -> dict[str, Any]:
    """The distances of decoded outputs (N, 4 + nc, anchors), or `error` in words where there can be none."""
    if expected.shape != got.shape:
        return {"error": f"shape {got.shape} instead of {expected.shape}"}
    if not np.isfinite(got).all():
        return {"error": "the output holds NaN or infinity"}
    parts = {"boxes": slice(0, 4), "scores": slice(4, None)}
    return {name: _distance(expected[:, part], got[:, part]) for name, part in parts.items()}


def _distance(expected: np.ndarray, got: np.ndarray) -> dict[str, float]:
    error = np.abs(expected - got)
    noise, signal = float((error**2).sum()), float((expected**2).sum())
    norms = float(np.linalg.norm(expected) * np.linalg.norm(got))
    return {
        "max_abs": float(error.max()),
        "mean_abs": float(error.mean()),
        "cosine": float((expected * got).sum()) / norms if norms else 0.0,
        # Equal outputs have no noise at all; 200 dB is beyond what float32 can show.
        "sqnr_db": 10 * float(np.log10(signal / noise)) if noise and signal else 200.0 if not noise else -200.0,
    }


def _predictor(backend: Any, checkpoint: Path, model: Path, runtime: str) -> Predict:
    """`predict(NCHW float32) -> decoded (N, 4 + nc, anchors)` for a torch checkpoint or a file of a target."""
    if runtime in {"onnx", "openvino"}:
        decoded: Predict = plugins.load("targets", runtime).predictor(model)
        return decoded
    raw = backend.torch_predictor(checkpoint) if runtime == "torch" else plugins.load("targets", "npu").predictor(model)
    return lambda images: np.asarray(backend.decode(raw(images), checkpoint))
