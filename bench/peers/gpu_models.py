"""The models of the GPU comparison as files, each in fp32 and fp16: a torch program, an ONNX, and an engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import models
import torch
import torchvision
from roofline import Model
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from deploytk.artifact import Artifact
from deploytk.backends.ultralytics import network
from deploytk.files import written_whole

#: What the files are for; the engine has one profile for batch 1 and one for the rest.
BATCHES = (1, 2, 4, 8, 16, 32, 64)
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


class FirstOutput(nn.Module):
    """A detector without its maps for training: the decoded boxes alone."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The first of its outputs."""
        first: torch.Tensor = pytree.tree_leaves(self.detector(images))[0]
        return first


def _detector() -> nn.Module:
    silu = dict.fromkeys(("backbone", "neck", "head"), "silu")
    return FirstOutput(models.with_statistics(network.build("yolov8", "n", 80, silu, 0.01), 320).eval())


#: name -> (side of its square image, what makes the module).
MODELS: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "resnet18": (224, lambda: models.with_statistics(torchvision.models.resnet18(weights=None), 224)),
    "resnet50": (224, lambda: models.with_statistics(torchvision.models.resnet50(weights=None), 224)),
    "yolov8n-640": (640, _detector),
}


def module(name: str) -> nn.Module:
    """A model with drawn weights, the same every time, ready to infer."""
    torch.manual_seed(0)
    return MODELS[name][1]().eval().requires_grad_(False)


def taken(made: nn.Module, side: int) -> Model:
    """What a model takes, its FLOPs counted in a run of one image (convolutions and products; PyTorch's counter)."""
    image = torch.zeros(1, 3, side, side)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        outputs = made(image)
    ends = image.numel() + sum(leaf.numel() for leaf in pytree.tree_leaves(outputs))
    weights = sum(tensor.numel() for tensor in made.parameters())
    return Model(flops_per_item=float(counted.get_total_flops()), weights=weights, ends_per_item=ends)


def program(name: str, precision: str, path: Path, side: int | None = None) -> Path:
    """A torch program with a free batch; a file that is there is left as it is."""
    if not path.is_file():
        typed = module(name).to(DTYPES[precision])
        sizes = {0: torch.export.Dim("batch", min=1, max=BATCHES[-1])}
        with warnings.catch_warnings(), written_whole(path) as temporary:
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                typed, (_image(side or MODELS[name][0], precision, 2),), dynamic_shapes=(sizes,)
            )
            torch.export.save(exported, temporary)
    return path


def onnx_file(name: str, precision: str, path: Path) -> Path:
    """An ONNX with a free batch; a file that is there is left as it is."""
    if not path.is_file():
        with warnings.catch_warnings(), written_whole(path) as temporary:
            warnings.simplefilter("ignore")  # of the older exporter, which gives the plainer graph
            torch.onnx.export(
                module(name).to(DTYPES[precision]),
                (_image(MODELS[name][0], precision, 1),),
                str(temporary),
                input_names=["images"],
                output_names=["outputs"],
                dynamic_axes={"images": {0: "batch"}, "outputs": {0: "batch"}},
                opset_version=models.OPSET,
                dynamo=False,
            )
    return path


@cache
def engine(onnx: Path, precision: str, path: Path) -> Path:
    """An engine of the ONNX, built here and now, once: it is bound to this GPU.

    Raises:
        DeploytkError: no TensorRT, or it cannot build it.
    """
    from deploytk.targets.tensorrt.building import build

    timings = str(path.parent / "timings")
    told = build(str(onnx), str(path), precision=precision, batches=BATCHES, best=8, timings=timings)
    settings = {"engine": told}
    Artifact.record(path, format="tensorrt-engine", precision=precision, made_by="export", settings=settings)
    return path


def _image(side: int, precision: str, batch: int) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, dtype=DTYPES[precision])
