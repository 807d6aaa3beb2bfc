"""The ONNX of a detector: free batch axis, decoded output, node names that keep the module path (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk.backends import onnx_files
from deploytk.backends.ultralytics import checkpoint as checkpoints
from deploytk.backends.ultralytics.inference import torch_module
from deploytk.backends.ultralytics.network import Decode
from deploytk.errors import DeploytkError


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
    facts = {name: told[name] for name in ("arch", "scale", "names", "imgsz", "strides", "reg_max", "activation")}
    facts |= {"sections": told["sections"], "negative_slope": told["negative_slope"]}
    onnx_files.write(module, size, out, opset, "output0", facts, lambda model: _require_paths(model, out))


def _require_paths(model: Any, out: Path) -> None:
    unnamed = [n.name for n in model.graph.node if n.op_type == "Conv" and not n.name.startswith("/model.")]
    if unnamed:
        raise DeploytkError(f"{out.name}: the exporter lost the module path of {unnamed[0]!r}")
