"""A float graph with some of its nodes' INT8 twins: beside them, or in their place (onnx)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from onnx import helper

from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE
from deploytk.targets.onnx import protos

_MARK = "int8:"
#: What ONNX Runtime calls an output of the model before it is rounded.
_UNROUNDED = "_QuantizeLinear_Input"


class Pair:
    """A float model and the QDQ model made from it."""

    def __init__(self, model: Any, made: Any) -> None:
        self.model, self._made = model, made

    @cached_property
    def _twins(self) -> dict[str, Any]:
        return protos.nodes(self._made)

    @cached_property
    def _makers(self) -> dict[str, Any]:
        return protos.makers(self._made)

    @cached_property
    def _readers(self) -> dict[str, list[Any]]:
        return protos.readers(self._made)

    @cached_property
    def _constants(self) -> dict[str, Any]:
        own = protos.weights(self.model)
        return {name: tensor for name, tensor in protos.weights(self._made).items() if name not in own}

    def beside(self, names: Iterable[str]) -> tuple[Any, dict[str, str]]:
        """The float model in which each named node has its twin, which reads the same but rounded; what twins make."""
        grafted = protos.copied(self.model)
        made = {}
        for name in names:
            twin = self._twins[name]
            self._bring(grafted, self._rounding(twin))
            grafted.graph.node.append(self._marked(twin, _MARK + twin.output[0]))
            made[name] = _MARK + twin.output[0]
        return grafted, made

    def alone(self, name: str) -> tuple[Any, dict[str, str]]:
        """The float model with this one node in INT8, and the new name of its output by the old one."""
        grafted, twin = protos.copied(self.model), self._twins[name]
        after = self._rounding_after(twin.output[0])
        moved = {_float_name(twin.output[0]): _MARK + node.output[0] for node in after[1:]}
        for node in grafted.graph.node:
            node.input[:] = [moved.get(tensor, tensor) for tensor in node.input]
        protos.nodes(grafted)[name].input[:] = [self._name(tensor) for tensor in twin.input]
        self._bring(grafted, [*self._rounding(twin), *after])
        return grafted, moved

    def _rounding(self, twin: Any) -> list[Any]:
        """The nodes that round what a node reads, and restore it."""
        restoring = [self._makers[t] for t in twin.input if t in self._makers]
        restoring = [node for node in restoring if node.op_type == DEQUANTIZE]
        return [*(self._makers[n.input[0]] for n in restoring if n.input[0] in self._makers), *restoring]

    def _rounding_after(self, tensor: str) -> list[Any]:
        """The two nodes that round a tensor and restore it; none where it stays in float."""
        for quantize in (n for n in self._readers.get(tensor, ()) if n.op_type == QUANTIZE):
            return [quantize, *(n for n in self._readers[quantize.output[0]] if n.op_type == DEQUANTIZE)][:2]
        return []

    def _bring(self, grafted: Any, nodes: list[Any]) -> None:
        """Add rounding nodes and their constants under names of their own, each once."""
        there = set(protos.nodes(grafted)) | set(protos.weights(grafted))
        for node in nodes:
            if _MARK + node.name not in there:
                grafted.graph.node.append(self._marked(node, _MARK + node.output[0]))
            for name in (t for t in node.input if t in self._constants and _MARK + t not in there):
                protos.add(grafted, _MARK + name, protos.array(self._constants[name]))
                there.add(_MARK + name)
            there.add(_MARK + node.name)

    def _marked(self, node: Any, output: str) -> Any:
        """A copy of a node of the QDQ model, to stand in the float one."""
        made = type(node)()
        made.CopyFrom(node)
        made.name, made.output[:] = _MARK + node.name, [output]
        made.input[:] = [self._name(tensor) for tensor in node.input]
        return made

    def _name(self, tensor: str) -> str:
        """What a tensor of the QDQ model is called in the float one."""
        maker = self._makers.get(tensor)
        rounded = maker is not None and maker.op_type in {QUANTIZE, DEQUANTIZE}
        return _MARK + tensor if rounded or tensor in self._constants else _float_name(tensor)


def mean_difference(model: Any, left: str, right: str, rank: int) -> str:
    """Add to the model the mean of `left - right` for each channel; the name of that tensor."""
    axes = [axis for axis in range(rank) if axis != 1]
    opset = max(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    difference, mean = f"{left}:difference", f"{left}:mean"
    model.graph.node.append(helper.make_node("Sub", [left, right], [difference]))
    if opset < 18:  # later the axes are an input
        model.graph.node.append(helper.make_node("ReduceMean", [difference], [mean], axes=axes, keepdims=0))
        return mean
    protos.add(model, f"{left}:axes", np.array(axes, dtype=np.int64))
    model.graph.node.append(helper.make_node("ReduceMean", [difference, f"{left}:axes"], [mean], keepdims=0))
    return mean


def _float_name(tensor: str) -> str:
    return tensor.removesuffix(_UNROUNDED)
