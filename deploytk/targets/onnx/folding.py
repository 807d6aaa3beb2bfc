"""BatchNorm folded into the convolution before it: one operator instead of two, and one rounding (onnx)."""

from __future__ import annotations

from typing import Any

import numpy as np

from deploytk.targets.onnx import protos

#: ONNX's own default.
_EPSILON = 1e-5


def fold_batch_norms(model: Any) -> None:
    """Change the model: each convolution that feeds a BatchNorm alone does its work too, under its own name."""
    for norm in [n for n in model.graph.node if n.op_type == "BatchNormalization"]:
        conv = protos.makers(model).get(norm.input[0])
        if conv is not None and conv.op_type == "Conv" and _feeds_only(model, conv, norm):
            _fold(model, conv, norm)
            model.graph.node.remove(norm)


def _feeds_only(model: Any, conv: Any, norm: Any) -> bool:
    constants = protos.weights(model)
    known = all(name in constants for name in [*conv.input[1:], *norm.input[1:]])
    outputs = {o.name for o in model.graph.output}
    return known and len(protos.readers(model)[conv.output[0]]) == 1 and conv.output[0] not in outputs


def _fold(model: Any, conv: Any, norm: Any) -> None:
    constants = protos.weights(model)
    gain, shift, mean, variance = (protos.array(constants[name]) for name in norm.input[1:])
    weight = protos.array(constants[conv.input[1]])
    bias = protos.array(constants[conv.input[2]]) if len(conv.input) > 2 else np.zeros_like(mean)
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), _EPSILON)
    scale = gain / np.sqrt(variance + np.float32(epsilon))
    conv.input[:] = [conv.input[0], f"{conv.name}:weight", f"{conv.name}:bias"]
    protos.add(model, conv.input[1], (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32))
    protos.add(model, conv.input[2], ((bias - mean) * scale + shift).astype(np.float32))
    conv.output[0] = norm.output[0]
