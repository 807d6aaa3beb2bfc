"""The activations in a LiteRT graph: fused into convolutions, operators of their own, and LOGISTIC + MUL.

A LOGISTIC alone is a gate or an output, and softmax is none. TANH counts only after a convolution or a matrix
product. QUANTIZE and DEQUANTIZE are looked through, so that float islands count as what they compute.
A hard sigmoid is written as relu6(x + 3) / 6: where it multiplies another value (squeeze and excite) it is a gate too;
where it multiplies x itself, that is HardSwish.
"""

from __future__ import annotations

import math
from collections import defaultdict

from deploytk.graphs import sections
from deploytk.graphs.litert import Graph, Node, Tensor
from deploytk.rules.activations import Activation, Kind

CONVOLUTIONS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL", "CONV_3D"}
)
_TRANSPARENT = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
_FUSED: dict[str, Kind] = {
    "RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "clip", "RELU_0_TO_1": "clip", "TANH": "tanh",
}  # fmt: skip
_SINGLE: dict[str, Kind] = {
    "RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "clip", "RELU_0_TO_1": "clip", "LEAKY_RELU": "leaky_relu",
    "PRELU": "prelu", "HARD_SWISH": "hardswish", "GELU": "gelu", "ELU": "elu",
}  # fmt: skip

#: A quantized 1/6 is within half a step of it; as one number has a scale of its own, that is less than this.
_SIXTH = 0.01


def find(graph: Graph) -> list[Activation]:
    """Every activation of the graph, in its order."""
    finder = _Finder(graph)
    return [a for node in graph.nodes for a in finder.of(node)]


def convolutions(graph: Graph) -> int:
    """How many convolutions and matrix products the graph has."""
    return sum(1 for node in graph.nodes if node.op in CONVOLUTIONS)


def short(name: str) -> str:
    """The name of a tensor without the converter's wrappers: `C2f_2/Conv_cv1/ReLU_act`."""
    parts = [part.rsplit(".", 1)[-1] for part in name.split(";")[0].split("/")]
    kept = [p for p in parts if not p.startswith("ChannelLastIOWrapper") and not p.endswith("_wrapped")]
    return "/".join(kept) or name


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self.makers = {t.index: n for n in graph.nodes for t in n.outputs}
        self.readers: dict[int, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for tensor in node.inputs:
                self.readers[tensor.index].append(node)
        steps = [
            sections.Step(name=n.name, op=n.op, inputs=_keys(n.inputs), outputs=_keys(n.outputs)) for n in graph.nodes
        ]
        self.sections = sections.sections(steps, _keys(graph.outputs))

    def of(self, node: Node) -> list[Activation]:
        """The activations of one node: fused, its own, or the pattern that ends here."""
        kinds = [_FUSED.get(node.activation), self._own(node)]
        if "relu6" in kinds:
            kinds = [self._hard_gate(node) if kind == "relu6" else kind for kind in kinds]
        return [
            Activation(
                kind=k, node=short(node.name) or node.op, section=self.sections[node.index], slope=self._slope(node, k)
            )
            for k in kinds
            if k is not None
        ]

    @staticmethod
    def _slope(node: Node, kind: Kind) -> float | None:
        return node.alpha if kind == "leaky_relu" else None

    def _own(self, node: Node) -> Kind | None:
        if node.op == "TANH":
            return "tanh" if self._after_convolution(node) else None
        if node.op == "MUL" and self._product_with_sigmoid(node):
            return "silu"
        if node.op == "MAXIMUM" and self._leaky_maximum(node):
            return "leaky_relu"
        return _SINGLE.get(node.op)

    def _after_convolution(self, node: Node) -> bool:
        maker = self._maker(node.inputs[0]) if node.inputs else None
        return maker is not None and maker.op in CONVOLUTIONS | {"ADD"}

    def _product_with_sigmoid(self, node: Node) -> bool:
        """Whether it is x * logistic(x), either way round."""
        if len(node.inputs) != 2:
            return False
        a, b = node.inputs
        return self._is_of(a, b, "LOGISTIC") or self._is_of(b, a, "LOGISTIC")

    def _leaky_maximum(self, node: Node) -> bool:
        """Whether it is max(x, slope * x), either way round."""
        if len(node.inputs) != 2:
            return False
        a, b = node.inputs
        return self._is_of(a, b, "MUL") or self._is_of(b, a, "MUL")

    def _hard_gate(self, node: Node) -> Kind | None:
        """What a clamp to 0..6 is: relu6, the clamp of a HardSwish, or None for that of a gate."""
        sixths = self._readers(node)
        if not sixths or not all(_is_sixth(n) for n in sixths):
            return "relu6"
        products = [n for sixth in sixths for n in self._readers(sixth)]
        if not products or not all(n.op == "MUL" and not any(t.constant for t in n.inputs) for n in products):
            return "relu6"
        # x + 3 by an operator of its own; inside a convolution's bias it is another value than any that is multiplied.
        shifted = {self._source(t) for t in self._before_clamp(node) if not t.constant}
        return "hardswish" if any(self._source(t) in shifted for n in products for t in n.inputs) else None

    def _before_clamp(self, node: Node) -> tuple[Tensor, ...]:
        """What x + 3 is computed from, in front of or within the operator that clamps."""
        add = node if node.op == "ADD" else self._maker(node.inputs[0])
        return add.inputs if add is not None and add.op == "ADD" else ()

    def _readers(self, node: Node) -> list[Node]:
        """The operators that read the result, through quantized and cast copies."""
        found: list[Node] = []
        todo = [t.index for t in node.outputs]
        while todo:
            for reader in self.readers[todo.pop()]:
                if reader.op in _TRANSPARENT:
                    todo += [t.index for t in reader.outputs]
                else:
                    found.append(reader)
        return found

    def _is_of(self, value: Tensor, made: Tensor, op: str) -> bool:
        """Whether `made` is op(value), or op(value, constant)."""
        maker = self._maker(made)
        if maker is None or maker.op != op:
            return False
        computed = [t for t in maker.inputs if not t.constant]
        return len(computed) == 1 and self._source(computed[0]) == self._source(value)

    def _source(self, tensor: Tensor) -> int:
        """The index of the tensor that this one is a quantized or cast copy of."""
        maker, seen = self.makers.get(tensor.index), 0
        while maker is not None and maker.op in _TRANSPARENT and maker.inputs and seen < len(self.makers):
            tensor, seen = maker.inputs[0], seen + 1
            maker = self.makers.get(tensor.index)
        return tensor.index

    def _maker(self, tensor: Tensor) -> Node | None:
        return self.makers.get(self._source(tensor))


def _is_sixth(node: Node) -> bool:
    """Whether it multiplies by 1/6, or divides by 6."""
    factor = {"MUL": 1 / 6, "DIV": 6.0}.get(node.op)
    return factor is not None and any(
        t.value is not None and math.isclose(t.value, factor, rel_tol=_SIXTH) for t in node.inputs
    )


def _keys(tensors: tuple[Tensor, ...]) -> tuple[str, ...]:
    return tuple(str(t.index) for t in tensors)
