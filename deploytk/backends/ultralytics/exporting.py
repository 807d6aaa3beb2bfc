"""The ONNX of a detector: free batch axis, decoded output, node names that keep the module path (torch.onnx, onnx)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch
from torch import nn

from deploytk.backends.ultralytics import checkpoint as checkpoints
from deploytk.backends.ultralytics.inference import torch_module
from deploytk.backends.ultralytics.network import Decode
from deploytk.errors import DeploytkError
from deploytk.files import written_whole


class Decoded(nn.Module):  # type: ignore[misc, unused-ignore]
    """Raw maps and their decoding as one graph. The layers stay in `model`, so node names begin with `/model.N/`."""

    def __init__(self, maps: nn.Module, decode: Decode) -> None:
        super().__init__()
        self.sources, self.model, self.decode = maps.sources, maps.model, decode
        self._maps = type(maps).forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 4 + nc, anchors)."""
        decoded: torch.Tensor = self.decode(self._maps(self, images))
        return decoded


def onnx_from_checkpoint(
    checkpoint: Path, out: Path, opset: int, trust: bool = False, imgsz: int | None = None
) -> None:
    """Write the ONNX: `images` (batch, 3, S, S) float32 0..1 RGB -> `output0` (batch, 4 + nc, anchors).

    Args:
        imgsz: S, where it is another than trained; a multiple of 32.

    Raises:
        DeploytkError: the exported graph is not what was asked for.
    """
    told = checkpoints.describe(checkpoint, trust=trust)
    told |= {"imgsz": imgsz or told["imgsz"]}
    size, strides = told["imgsz"], told["strides"]
    sizes = [(size // s, size // s) for s in strides]
    decode = Decode(sizes, strides, told["reg_max"], told["nc"])
    module = Decoded(torch_module(checkpoint, trust=trust), decode).eval()
    with written_whole(out) as temporary:
        _export(module, size, temporary, opset)
        model = _checked(_slimmed(onnx.load(temporary)), out, opset)
        _describe(model, told)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)


def _export(module: nn.Module, size: int, out: Path, opset: int) -> None:
    with warnings.catch_warnings():
        # The newer exporter names nodes `node_conv2d_3`, without the section they belong to.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, size, size),),
            str(out),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
            opset_version=opset,
            do_constant_folding=True,
            dynamo=False,
        )


def _slimmed(model: Any) -> Any:
    """The model without superfluous nodes, where slimming keeps the names of the convolutions and activations."""
    names = {n.name for n in model.graph.node if n.op_type == "Conv"}
    slim = onnxslim.slim(model)
    kept = {n.name for n in slim.graph.node if n.op_type == "Conv"}
    return slim if names == kept else model


def _checked(model: Any, out: Path, opset: int) -> Any:
    axes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    if not isinstance(axes[0], str):
        raise DeploytkError(f"{out.name}: the exporter fixed the batch size: input {axes}")
    versions = [o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}]
    if versions != [opset]:
        raise DeploytkError(f"{out.name}: the exporter wrote opset {versions} instead of {opset}")
    unnamed = [n.name for n in model.graph.node if n.op_type == "Conv" and not n.name.startswith("/model.")]
    if unnamed:
        raise DeploytkError(f"{out.name}: the exporter lost the module path of {unnamed[0]!r}")
    return model


def _describe(model: Any, told: dict[str, Any]) -> None:
    """Write into the model what a reader of the graph alone cannot know."""
    facts = {name: told[name] for name in ("arch", "scale", "names", "imgsz", "strides", "reg_max", "activation")}
    facts |= {"sections": told["sections"], "negative_slope": told["negative_slope"]}
    del model.metadata_props[:]
    for name, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"deploytk.{name}", value if isinstance(value, str) else json.dumps(value)
