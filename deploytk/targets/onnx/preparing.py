"""A float ONNX file made ready to be quantized: slimmed, BatchNorm folded, shapes known (onnx, onnxslim)."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnxslim

from deploytk.errors import InputError
from deploytk.graphs import onnx as graphs
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.scope import WEIGHTED

#: Per-channel scales of DequantizeLinear came with it.
_OPSET = 13


def prepared(model: Path, out: Path) -> tuple[Any, graphs.Graph]:
    """The model as it is quantized, and the same as a graph, which is also written to `out`.

    BatchNorm is folded into the convolutions and superfluous nodes are gone, as long as that keeps the names of the
    weighted operators; each of those has weights of its own, so that they can be changed one by one.

    Raises:
        InputError: no float model, an opset without per-channel quantization, or a batch size fixed above 1.
    """
    _require_quantizable(graphs.read(model))
    made = _slimmed(onnx.load(model))
    _name_nodes(made)
    _own_weights(made)
    onnx.save(onnx.shape_inference.infer_shapes(made), out)
    return onnx.load(out), graphs.read(out)


def _require_quantizable(graph: graphs.Graph) -> None:
    name = graph.path.name
    if graph.quantized:
        raise InputError(f"{name}: is quantized already ({', '.join(graph.quantized_ops)}); give the float model")
    if graph.opset < _OPSET:
        raise InputError(f"{name}: opset {graph.opset} has no per-channel INT8; export it with {_OPSET} or later")
    if len(graph.inputs) != 1 or graph.inputs[0].dtype != "float32":
        told = ", ".join(f"{i.name} ({i.dtype})" for i in graph.inputs)
        raise InputError(f"{name}: only a model with one float32 input can be quantized, this one takes {told}")
    if graph.batch not in {None, 1}:
        raise InputError(f"{name}: its batch size is fixed at {graph.batch}; export it with a free batch axis")


def _slimmed(model: Any) -> Any:
    names = Counter(n.name for n in model.graph.node if n.op_type in WEIGHTED)
    level = logging.getLogger("ONNXSlim").level
    slim = onnxslim.slim(protos.copied(model))
    logging.getLogger("ONNXSlim").setLevel(level)
    kept = Counter(n.name for n in slim.graph.node if n.op_type in WEIGHTED)
    return slim if kept == names else model


def _name_nodes(model: Any) -> None:
    """Give each node without a name that of its first output, as graphs.onnx does."""
    for node in model.graph.node:
        node.name = node.name or node.output[0]


def _own_weights(model: Any) -> None:
    """Give each weighted operator copies of the weights and biases that it shares with others."""
    weights, seen = protos.weights(model), set()
    for node in (n for n in model.graph.node if n.op_type in WEIGHTED):
        for place, name in enumerate(node.input):
            if name in weights and name in seen:
                node.input[place] = f"{name}_of_{node.name}"
                protos.add(model, node.input[place], protos.array(weights[name]))
            seen.add(name)
