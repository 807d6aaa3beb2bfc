"""The models of the benchmarks, made offline with drawn weights: runs/models/*.onnx. What exists is left as it is.

python bench/models.py [--out runs/models] [--only NAME]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from deploytk.backends.ultralytics import checkpoint, network
from deploytk.backends.ultralytics.exporting import onnx_from_checkpoint
from deploytk.files import written_whole

OPSET = 17
_CLASSES = 80


def detector(out: Path, size: int, activation: str = "silu") -> None:
    """YOLOv8n with 80 classes: `images` (batch, 3, size, size) -> `output0` (batch, 84, anchors)."""
    activations = dict.fromkeys(("backbone", "neck", "head"), activation)
    model = with_statistics(network.build("yolov8", "n", _CLASSES, activations, 0.01), 320)
    names = [f"class {number}" for number in range(_CLASSES)]
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "model.pt"
        checkpoint.write(checkpoint.pack(model, arch="yolov8", scale="n", imgsz=size, names=names), packed)
        onnx_from_checkpoint(packed, out, OPSET)


def classifier(out: Path, make: Callable[..., nn.Module]) -> None:
    """A torchvision classifier: `images` (batch, 3, 224, 224) -> `logits` (batch, 1000)."""
    model = with_statistics(make(weights=None), 224)
    with written_whole(out) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which gives the plainer graph
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, 224, 224),),
            str(temporary),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def with_statistics(model: nn.Module, size: int) -> nn.Module:
    """The model in eval mode, its batch norms knowing what they normalise.

    Drawn weights without that let the activations shrink from layer to layer, down to where the processor computes
    with subnormal numbers, and the outputs no longer depend on the input.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        model.train()(torch.rand(8, 3, size, size))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return model.eval()


MODELS: dict[str, Callable[[Path], None]] = {
    "yolov8n-320": lambda out: detector(out, 320),
    "yolov8n-relu-320": lambda out: detector(out, 320, "relu"),
    "yolov8n-640": lambda out: detector(out, 640),
    "resnet18": lambda out: classifier(out, torchvision.models.resnet18),
    "mobilenetv3-small": lambda out: classifier(out, torchvision.models.mobilenet_v3_small),
}


def make(name: str, out: Path) -> Path:
    """The path of a model, made now where it does not exist; the same weights every time."""
    path = out / f"{name}.onnx"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        MODELS[name](path)
    return path


def main() -> None:
    """Make all models, or one."""
    parser = argparse.ArgumentParser(description="The models of the benchmarks, with drawn weights.")
    parser.add_argument("--out", type=Path, default=Path("runs") / "models")
    parser.add_argument("--only", choices=MODELS, help="just this one")
    asked = parser.parse_args()
    for name in [asked.only] if asked.only else MODELS:
        path = make(name, asked.out)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
