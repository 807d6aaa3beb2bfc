"""What runs inside child processes: one function per risky step, JSON-like in and out.

Here backends and targets meet: each function loads both by name and hands the result of one to the other.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins
from deploytk.files import written_whole
from deploytk.stages import parity_models, parity_steps

Predict = Callable[[np.ndarray], np.ndarray]


def train_segment(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """Train one segment of the profile's model into the run folder; its outcome."""
    backend = plugins.load("backends", profile["backend"])
    outcome: dict[str, Any] = backend.train_segment(profile, run, segment)
    return outcome


def finish_training(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """Make the run's model.pt from the best checkpoint; the summary of the training."""
    backend = plugins.load("backends", profile["backend"])
    summary: dict[str, Any] = backend.finish_training(profile, run)
    return summary


def report_training(profile: dict[str, Any], run: str) -> None:
    """Write the report and the curves of a training that has no summary: it failed."""
    from deploytk.training import reporting

    told = {"name": profile["name"], "training": {"epochs": profile["train"]["epochs"]}}
    reporting.write(Path(run), {**told, "model": profile["model"]})


def onnx_from_checkpoint(backend: str, checkpoint: str, out: str, opset: int, imgsz: int) -> None:
    """Write the ONNX of a checkpoint, for images of `imgsz` pixels."""
    plugins.load("backends", backend).onnx_from_checkpoint(Path(checkpoint), Path(out), opset, imgsz=imgsz)


def convert(backend: str, target: str, checkpoint: str, out: str, imgsz: int) -> None:
    """Write the float model of a target from a checkpoint's torch module, for images of `imgsz` pixels."""
    module = plugins.load("backends", backend).torch_module(Path(checkpoint))
    plugins.load("targets", target).convert(module, imgsz, Path(out))


def ir_from_onnx(onnx: str, out: str, precision: str) -> dict[str, Any]:
    """Write the OpenVINO IR of an ONNX file; facts about it."""
    facts: dict[str, Any] = plugins.load("targets", "openvino").convert(Path(onnx), Path(out), precision)
    return facts


def real_inputs(profile: dict[str, Any], run: str, count: int, out: str) -> None:
    """Write `count` validation images, prepared as at inference, as an .npz (images: (N, 3, S, S) float32 0..1)."""
    images = plugins.load("backends", profile["backend"]).samples(profile, "val", count, 0, run)
    with written_whole(Path(out)) as partial, partial.open("wb") as stream:
        np.savez(stream, images=np.concatenate(list(images)))


def typed_onnx(onnx: str, out: str, precision: str) -> dict[str, Any]:
    """Write the ONNX with this precision in it that TensorRT builds; facts about it."""
    facts: dict[str, Any] = plugins.load("targets", "tensorrt").typed(Path(onnx), Path(out), precision)
    return facts


def proof(
    profile: dict[str, Any], run: str, checkpoint: str, model: str, runtime: str, images: int, precision: str
) -> dict[str, Any]:
    """What `model` does beside the trained model, through the same code for every format.

    Returns:
        metrics: the task metrics on the validation split.
        classes: what the model's outputs are called, in their order.
        agreement: how far the decoded outputs are from the torch module's on `images` validation images, at several
            batch sizes, and the layers that are furthest off (`parity_steps.agreement`); empty for the torch module.
    """
    backend = plugins.load("backends", profile["backend"])
    predict = _predictor(backend, Path(checkpoint), Path(model), runtime)
    metrics: dict[str, float] = backend.score(predict, profile, Path(checkpoint), run)
    found = {"metrics": metrics, "classes": backend.describe(Path(checkpoint))["classes"]}
    if runtime == "torch":
        return {**found, "agreement": {}}
    source = parity_models.opened(Path(checkpoint), backend=profile["backend"])
    feeds = {"images": np.concatenate(list(backend.samples(profile, "val", images, 0, run)))}
    with _looked_at(Path(model), runtime) as (path, options):
        converted = parity_models.decoded(parity_models.opened(path, options=options), source)
        return {**found, "agreement": parity_steps.agreement(source, converted, feeds, precision)}


@contextlib.contextmanager
def _looked_at(model: Path, runtime: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """The file that is opened to be compared, and the options of its runtime."""
    if runtime != "tensorrt":
        yield model, {}
        return
    target = plugins.load("targets", "tensorrt")
    with tempfile.TemporaryDirectory() as folder:
        there = target.readable(model, Path(folder))
        yield there, dict(target.AS_WRITTEN) if there.suffix == ".onnx" else {}


def _predictor(backend: Any, checkpoint: Path, model: Path, runtime: str) -> Predict:
    """`predict(NCHW float32) -> decoded (N, 4 + nc, anchors)` for a torch checkpoint or a file of a target."""
    if runtime in {"onnx", "openvino", "tensorrt"}:
        decoded: Predict = plugins.load("targets", runtime).predictor(model)
        return decoded
    raw = backend.torch_predictor(checkpoint) if runtime == "torch" else plugins.load("targets", "npu").predictor(model)
    return lambda images: np.asarray(backend.decode(raw(images), checkpoint))
