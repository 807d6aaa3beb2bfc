"""What every backend does for the ONNX of a torch network: exported with a free batch, slimmed, checked, described.

(torch.onnx, onnx, onnxslim)
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch
from torch import nn

from deploytk.errors import DeploytkError
from deploytk.files import written_whole

INPUT = "images"


def write(
    module: nn.Module,
    size: int,
    out: Path,
    opset: int,
    output: str,
    facts: Mapping[str, Any],
    also: Callable[[Any], None] = lambda _model: None,
) -> None:
    """Write `module` as ONNX: `images` (batch, 3, size, size) -> `output` (batch, ...), `facts` in its metadata.

    Args:
        also: raises where the graph is not what this backend needs.

    Raises:
        DeploytkError: the exported graph is not what was asked for.
    """
    with written_whole(out) as temporary:
        _export(module, size, temporary, opset, output)
        model = _slimmed(onnx.load(temporary))
        _check(model, out, opset)
        also(model)
        _describe(model, facts)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)


def _export(module: nn.Module, size: int, out: Path, opset: int, output: str) -> None:
    with warnings.catch_warnings():
        # The newer exporter names nodes `node_conv2d_3`, without the module they belong to.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, size, size),),
            str(out),
            input_names=[INPUT],
            output_names=[output],
            dynamic_axes={INPUT: {0: "batch"}, output: {0: "batch"}},
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


def _check(model: Any, out: Path, opset: int) -> None:
    axes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    if not isinstance(axes[0], str):
        raise DeploytkError(f"{out.name}: the exporter fixed the batch size: input {axes}")
    versions = [o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}]
    if versions != [opset]:
        raise DeploytkError(f"{out.name}: the exporter wrote opset {versions} instead of {opset}")


def _describe(model: Any, facts: Mapping[str, Any]) -> None:
    """Write into the model what a reader of the graph alone cannot know."""
    del model.metadata_props[:]
    for name, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"deploytk.{name}", value if isinstance(value, str) else json.dumps(value)
