"""A float model and the ranges of its activations as a model in QDQ form (onnxruntime.quantization)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.ranges import Ranges
from deploytk.targets.onnx.schemes import Types
from deploytk.targets.onnx.scope import Scope


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
        extra_options={"ActivationSymmetric": symmetric},
    )
    tool.quantize_model()
    tool.model.topological_sort()
    return tool.model.model


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
