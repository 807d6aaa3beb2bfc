"""The values inside a .tflite file, layer by layer, as LiteRT's own kernels compute them (ai_edge_litert)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from deploytk.graphs import litert as graphs
from deploytk.graphs.layers import Layer
from deploytk.runtimes import Feed

#: Nodes that are no layer of their own.
_PLUMBING = frozenset({"QUANTIZE", "DEQUANTIZE"})


class LiteRtLayers:
    """The layers of a .tflite file, each called as the tensor it makes; quantized values as what they stand for."""

    def __init__(self, path: Path) -> None:
        nodes = [n for n in graphs.read(path).nodes if n.op not in _PLUMBING and n.outputs]
        self._index = {n.name: n.outputs[0].index for n in nodes}
        self.layers = tuple(
            Layer(name=n.name, op=n.op, reads=tuple(t.name for t in n.inputs if t.name in self._index)) for n in nodes
        )
        self._interpreter = Interpreter(
            model_path=str(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted layers that are floating-point numbers or quantized ones, by layer name."""
        for detail in self._interpreter.get_input_details():
            self._interpreter.set_tensor(detail["index"], feed[detail["name"]])
        self._interpreter.invoke()
        details = {d["index"]: d for d in self._interpreter.get_tensor_details()}
        values = {name: self._value(details[self._index[name]]) for name in wanted}
        return {name: value for name, value in values.items() if value.dtype.kind == "f"}

    def _value(self, detail: dict[str, Any]) -> np.ndarray:
        value: np.ndarray = self._interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        return (value.astype(np.float32) - zero) * np.float32(scale) if scale else value
