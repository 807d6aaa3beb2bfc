"""The values inside an ONNX model, layer by layer, as ONNX Runtime computes them (onnx, onnxruntime)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from deploytk.errors import InputError
from deploytk.graphs.layers import Layer
from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE, Graph, Node, read
from deploytk.runtimes import Feed

#: Nodes that are no layer of their own.
_PLUMBING = frozenset({QUANTIZE, DEQUANTIZE, "Constant"})


class OnnxLayers:
    """The layers of an ONNX file. Of a quantized one the values are those that the next layer reads: dequantized."""

    def __init__(self, path: Path, *, exact: bool = False) -> None:
        """`exact`: the graph is run as it is written, without ONNX Runtime's optimisations."""
        self._path, self._graph, self._exact = path, read(path), exact
        nodes = [n for n in self._graph.nodes if n.op not in _PLUMBING and n.outputs and n.outputs[0]]
        self._tensors = {n.name: _read_as(self._graph, n.outputs[0]) for n in nodes}
        self._names = {tensor: name for name, tensor in self._tensors.items()}
        self.layers = tuple(self._layer(n) for n in nodes)

    def _layer(self, node: Node) -> Layer:
        readers = self._graph.readers.get(node.outputs[0], ())
        reads = tuple(self._names[t] for t in node.inputs if t in self._names)
        return Layer(name=node.name, op=node.op, reads=reads, reader=readers[0].name if len(readers) == 1 else "")

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted layers that are floating-point numbers, by layer name."""
        tensors = [self._tensors[name] for name in wanted]
        values = self._session(tensors).run(tensors, dict(feed))
        return {n: v for n, v in zip(wanted, values, strict=True) if isinstance(v, np.ndarray) and v.dtype.kind == "f"}

    def _session(self, tensors: Sequence[str]) -> ort.InferenceSession:
        model = onnx.load(str(self._path))
        given = {o.name for o in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in dict.fromkeys(tensors) if t not in given)
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if self._exact:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except ValueError as error:  # protobuf stops at 2 GiB
            raise InputError(f"{self._path}: too large to be looked into layer by layer") from error


def _read_as(graph: Graph, tensor: str) -> str:
    """The tensor that holds what the next layer reads of `tensor`: behind its quantization, where there is one."""
    for op in (QUANTIZE, DEQUANTIZE):
        following = next((n for n in graph.readers.get(tensor, ()) if n.op == op), None)
        if following is None:
            return tensor
        tensor = following.outputs[0]
    return tensor
