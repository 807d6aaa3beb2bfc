"""The ONNX of a classifier: free batch axis, logits out, node names that keep the module path (torch)."""

from __future__ import annotations

from pathlib import Path

from deploytk.backends import onnx_files
from deploytk.backends.classifier import checkpoint as checkpoints
from deploytk.backends.classifier import network
from deploytk.backends.classifier.inference import preparation

OUTPUT = "logits"


def onnx_from_checkpoint(checkpoint: Path, out: Path, opset: int, imgsz: int | None = None) -> None:
    """Write the ONNX: `images` (batch, 3, S, S) float32, prepared -> `logits` (batch, classes).

    Args:
        imgsz: S, where it is another than trained.

    Raises:
        RuleFailed: an activation of the network is another than the checkpoint says.
        DeploytkError: the exported graph is not what was asked for.
    """
    told = checkpoints.payload(checkpoint)
    size = imgsz or told["imgsz"]
    model = checkpoints.rebuild(told)
    network.require(model, told["activation"], told["negative_slope"], str(checkpoint))
    facts = {name: told[name] for name in ("arch", "names", "activation", "negative_slope")}
    facts |= {name: told[name] for name in ("class_index", "crops") if told.get(name)}
    facts |= {"imgsz": size, "preparation": preparation(checkpoint, size).model_dump(mode="json")}
    onnx_files.write(model.requires_grad_(False), size, out, opset, OUTPUT, facts)
