"""Whole networks, detector and classifiers, in every precision: read and built by NVIDIA's code for batches 1 to 64."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from deploytk.backends.ultralytics import checkpoint, network
from deploytk.backends.ultralytics.exporting import onnx_from_checkpoint
from deploytk.recipe import Recipe
from deploytk.targets import tensorrt as target

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
pytestmark = pytest.mark.e2e

SIDE = 96
WORDS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}


def detector(arch: str, out: Path) -> Path:
    silu = dict.fromkeys(("backbone", "neck", "head"), "silu")
    model = network.build(arch, "n", 80, silu, 0.01)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.pt"
        names = [f"class {n}" for n in range(80)]
        checkpoint.write(checkpoint.pack(model, arch=arch, scale="n", imgsz=SIDE, names=names), packed)
        onnx_from_checkpoint(packed, out, 17)
    return out


def classifier(name: str, out: Path) -> Path:
    model = getattr(torchvision.models, name)(weights=None).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(out),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    return out


MODELS: dict[str, Callable[[str, Path], Path]] = {
    "yolov8": detector,
    "yolo11": detector,
    "resnet18": classifier,
    "mobilenet_v3_small": classifier,
}


def feeds() -> Iterator[np.ndarray]:
    for seed in range(2):
        yield np.random.default_rng(seed).random((1, 3, SIDE, SIDE), dtype=np.float32)


@pytest.fixture(scope="module", params=list(MODELS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MODELS[request.param](request.param, tmp_path_factory.mktemp("model") / f"{request.param}.onnx")


@pytest.mark.parametrize("precision", list(WORDS))
def test_it_is_built_in_the_precision_that_is_asked_for(model: Path, tmp_path: Path, precision: str) -> None:
    typed = tmp_path / f"{precision}.onnx"
    if precision == "int8":
        target.quantize_graph(model, feeds, typed, Recipe())
    elif precision != "fp32":
        target.typed(model, typed, precision)
    path = model if precision == "fp32" else typed
    out = tmp_path / "m.engine"
    facts = target.build(str(path), str(out), precision=precision, batches=[1, 2, 64], timings=str(tmp_path / "t"))
    assert facts["profiles"] == [[1, 1, 1], [2, 8, 64]]
    assert facts["computes"][WORDS[precision]] > 0.8 * sum(facts["computes"].values())
    assert out.stat().st_size == facts["bytes"]
