"""An ONNX file with float16 or bfloat16 in it: a strongly typed network computes in what its graph says (onnx)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from deploytk.errors import InputError, ParityFailed
from deploytk.files import written_whole
from deploytk.graphs import onnx as graphs
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.scope import WEIGHTED, decoding

Half = Literal["fp16", "bf16"]

#: The first opset whose DequantizeLinear gives float16, and whose QuantizeLinear reads it.
_OPSET = 19


#: What TensorRT has not in a precision (rules TRT016 and TRT017): it stays in float32.
_NOT_IN = {"bf16": frozenset({"ConvTranspose", "HardSwish", "LpNormalization", "LpPool", "Mish", "Shrink"})}


def typed(model: Path, out: Path, precision: Half) -> dict[str, Any]:
    """Write the float model with what has weights in float16 or bfloat16; inputs and outputs stay float32.

    What comes after the last weighted operators (the decoding of boxes up to 640 px, of which float16 keeps the half
    pixel) stays in float32: it costs nothing. So does what TensorRT has not in bfloat16.

    Returns:
        weighted (float type -> how many weighted operators compute in it), float32_nodes.

    Raises:
        InputError: not a float32 model.
        ParityFailed: nothing in it is in that precision.
    """
    graph = graphs.read(model)
    if graph.quantized or any(spec.dtype != "float32" for spec in graph.inputs):
        raise InputError(f"{model.name}: only a float32 model can be made {precision}; give the one that was exported")
    lacking = _NOT_IN.get(precision, frozenset())
    kept = {*decoding(graph), *(node.name for node in graph.nodes if node.op in lacking)}
    made = halved(onnx.load(model), kept)
    if precision == "bf16":
        made = brained(made, onnx.load(model))
    found = weighted_types(made)
    if not found[_TOLD[precision]]:
        raise ParityFailed(f"{out.name}: {precision} was asked for, and no operator with weights is in it")
    with written_whole(out) as temporary:
        onnx.save(made, temporary)
    return {"weighted": dict(found), "float32_nodes": len(kept)}


_TOLD = {"fp16": "float16", "bf16": "bfloat16"}


def halved(model: Any, kept: Collection[str]) -> Any:
    """The model in float16, but for the nodes of these names and the inputs and outputs of the graph."""
    made = at_opset(model, _OPSET)
    made = convert_float_to_float16(made, keep_io_types=True, node_block_list=list(kept))
    _without_round_trips(made)
    tool = OnnxModel(made)
    tool.topological_sort()
    onnx.checker.check_model(tool.model)
    return tool.model


def at_opset(model: Any, opset: int) -> Any:
    """The model at this opset, or at its own where that is later."""
    own = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if own >= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the converter's own have no common base
        raise InputError(f"opset {own} cannot be raised to {opset}: {str(error).splitlines()[0]}") from error


def _without_round_trips(model: Any) -> None:
    """Let a float32 node read its float32 neighbour itself, and not what went through float16 in between."""
    makers = protos.makers(model)

    def narrowed(tensor: str) -> str:
        """What became `tensor` by a cast to float16, where that is float32; or the empty string."""
        maker = makers.get(tensor)
        return maker.input[0] if maker is not None and _casts(maker, TensorProto.FLOAT16) else ""

    direct = {n.output[0]: narrowed(n.input[0]) for n in model.graph.node if _casts(n, TensorProto.FLOAT)}
    outputs = {o.name for o in model.graph.output}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = direct.get(name) or name
    for node in [n for n in model.graph.node if n.output[0] in outputs and direct.get(n.output[0])]:
        node.CopyFrom(helper.make_node("Identity", [direct[node.output[0]]], list(node.output), name=node.name))
    _without_unread(model, outputs)


def _casts(node: Any, to: int) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == to)


def _without_unread(model: Any, outputs: Collection[str]) -> None:
    """Take out the casts that nobody reads any more."""
    while unread := [
        n
        for n in model.graph.node
        if n.op_type == "Cast" and n.output[0] not in outputs and n.output[0] not in protos.readers(model)
    ]:
        for node in unread:
            model.graph.node.remove(node)


def brained(half: Any, source: Any) -> Any:
    """The model with bfloat16 where `half` has float16; weights are rounded from those of `source`, in float32."""
    weights = protos.weights(source)
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = protos.array(weights.get(tensor.name, tensor)).astype(np.float32)
            tensor.CopyFrom(_brain(tensor.name, values))
    for node in half.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(_brain(attribute.t.name, protos.array(attribute.t).astype(np.float32)))
    for value in half.graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return half


def _brain(name: str, values: np.ndarray) -> Any:
    return helper.make_tensor(name, TensorProto.BFLOAT16, values.shape, values.ravel().tolist())


def weighted_types(model: Any) -> Counter[str]:
    """How many operators with weights compute in which float type ("unknown" where the graph does not say)."""
    graph = model.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = (kinds.get(n.input[1], 0) for n in graph.node if n.op_type in WEIGHTED)
    return Counter(helper.tensor_dtype_to_np_dtype(kind).name if kind else "unknown" for kind in found)
