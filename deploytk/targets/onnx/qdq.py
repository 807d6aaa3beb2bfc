"""A float model and the ranges of its activations as a model in QDQ form (onnx, onnxruntime.quantization)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.ranges import Ranges
from deploytk.targets.onnx.schemes import Types
from deploytk.targets.onnx.scope import WEIGHTED, Scope

#: What an operator gives is not rounded either: its activation would stand between two roundings and be fused no more.
_FLOAT_BIAS = {"QuantizeBias": False, "OpTypesToExcludeOutputQuantization": sorted(WEIGHTED)}


def quantized(model: Any, ranges: Ranges, scope: Scope, types: Types) -> Any:
    """A copy of the model with the nodes of the scope in INT8, weights per channel; the rest and all names stay."""
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    symmetric = types.name == "s8s8"
    tool = QDQQuantizer(
        protos.copied(model),
        per_channel=True,
        reduce_range=types.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=list(scope.nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=list({node.op_type for node in model.graph.node}),
        extra_options={"ActivationSymmetric": symmetric, **({} if types.integer_bias else _FLOAT_BIAS)},
    )
    tool.quantize_model()
    tool.model.topological_sort()
    made = tool.model.model
    for name in scope.kept if types.integer_bias else ():
        _hold_in_float(made, name)
    return made


def _hold_in_float(made: Any, name: str) -> None:
    """Give an operator that stays in float its image by a scale for each channel, all of them the same.

    Between a scalar DequantizeLinear and a QuantizeLinear ONNX Runtime quantizes Conv and Gemm by itself, weights per
    tensor (WeightBiasQuantization), so that nothing would be left of keeping them in float.
    """
    node, makers, constants = protos.nodes(made)[name], protos.makers(made), protos.weights(made)
    shared = makers.get(node.input[0])
    if shared is None or shared.op_type != DEQUANTIZE:
        return
    own = [shared.input[0]]
    for tensor, what in zip(shared.input[1:], ("scale", "zero_point"), strict=True):
        own.append(f"{name}:{what}")
        protos.add(made, own[-1], np.repeat(protos.array(constants[tensor]), _channels(node, constants)))
    restored = helper.make_node(DEQUANTIZE, own, [f"{name}:restored"], name=f"{name}:restore", axis=1)
    made.graph.node.insert(list(made.graph.node).index(node), restored)
    node.input[0] = restored.output[0]
    if shared.output[0] not in protos.readers(made):
        made.graph.node.remove(shared)


def _channels(node: Any, constants: dict[str, Any]) -> int:
    """How many channels an operator reads."""
    given = {a.name: a.i for a in node.attribute}
    shape = constants[node.input[1]].dims
    if node.op_type == "Conv":
        return int(shape[1] * given.get("group", 1))
    return int(shape[1] if node.op_type == "Gemm" and given.get("transB") else shape[0])


def in_integers(model: Any, scope: Scope) -> tuple[str, ...]:
    """The weighted operators of the scope whose image and weight both come from integers."""
    makers, nodes = protos.makers(model), protos.nodes(model)
    found = (nodes[name] for name in scope.weighted if name in nodes)
    return tuple(n.name for n in found if all(getattr(makers.get(t), "op_type", "") == DEQUANTIZE for t in n.input[:2]))


def steps(model: Any) -> dict[str, str]:
    """The tensor after rounding, by the tensor before it, for each activation."""
    quantizes = [n for n in model.graph.node if n.op_type == QUANTIZE]
    readers = protos.readers(model)
    return {n.input[0]: r.output[0] for n in quantizes for r in readers.get(n.output[0], ()) if r.op_type == DEQUANTIZE}
