"""The activations in an ONNX graph, single operators and the patterns that exporters write for them.

What counts: Relu, LeakyRelu, PRelu, Clip with the bounds of ReLU and ReLU6, HardSwish, Gelu, Mish, Elu, Selu wherever
they stand; x*sigmoid(x), x*hardsigmoid(x), x*relu6(x+3)/6, x*tanh(softplus(x)), erf and tanh GELU, max(x, a*x).
What does not: softmax, and a sigmoid alone (a gate or an output). Tanh, Softplus and other Clips count only after a
convolution or a matrix product. Quantize and dequantize nodes are looked through; a ReLU that a quantizer
folded into the range of the tensor (zero point at the lowest value) counts as ReLU.
"""

from __future__ import annotations

import math

from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE, Graph, Node
from deploytk.rules.activations import Activation, Kind

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "ConvInteger", "QLinearMatMul"})
_TRANSPARENT = frozenset({QUANTIZE, DEQUANTIZE, "Cast", "Identity"})
#: Between a convolution and its activation: nothing of the value is decided here.
_BETWEEN = frozenset({"BatchNormalization", "Add", "Sum", "Reshape", "Squeeze", "Unsqueeze", "InstanceNormalization"})
_SINGLE: dict[str, Kind] = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "HardSwish": "hardswish", "Gelu": "gelu",
    "FastGelu": "gelu", "QuickGelu": "gelu", "BiasGelu": "gelu", "Erf": "gelu", "Mish": "mish", "Swish": "silu",
    "Elu": "elu", "Celu": "elu", "Selu": "selu", "QLinearLeakyRelu": "leaky_relu",
}  # fmt: skip
_AFTER_CONVOLUTION: dict[str, Kind] = {"Tanh": "tanh", "Softplus": "softplus"}
_REL_TOLERANCE = 1e-3


def find(graph: Graph) -> list[Activation]:
    """Every activation of the graph, in its order."""
    return _Finder(graph).run()


def convolutions(graph: Graph) -> int:
    """How many convolutions and matrix products the graph has."""
    return sum(1 for node in graph.nodes if node.op in CONVOLUTIONS)


class _Finder:
    """One walk over a graph; `inner` are the nodes that are part of a pattern found elsewhere."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inner: set[int] = set()

    def run(self) -> list[Activation]:
        found = {n.index: kind for n in self.graph.nodes if (kind := self._pattern(n)) is not None}
        for node in self.graph.nodes:
            if node.index not in self.inner and node.index not in found:
                kind = self._single(node)
                if kind is not None:
                    found[node.index] = kind
        return [self._activation(self.graph.nodes[i], kind) for i, kind in sorted(found.items())]

    def _activation(self, node: Node, kind: Kind) -> Activation:
        slope = self._slope(node) if kind == "leaky_relu" else None
        return Activation(kind=kind, node=node.name, section=node.section, slope=slope)

    def _slope(self, node: Node) -> float | None:
        if node.op in {"Max", "PRelu"}:
            return self._leaky_max(node) if node.op == "Max" else self.graph.scalar(node.input(1))
        return float(node.attributes.get("alpha", 0.01))

    # -- single operators

    def _single(self, node: Node) -> Kind | None:
        if node.op == "Clip":
            return self._clip(node)
        if node.op == "PRelu":
            # One slope for all channels is a LeakyReLU that was learned, or written as PRelu.
            return "prelu" if self.graph.scalar(node.input(1)) is None else "leaky_relu"
        if node.op in _AFTER_CONVOLUTION:
            return _AFTER_CONVOLUTION[node.op] if self._after_convolution(node) else None
        if node.op == QUANTIZE:
            return "relu" if self._folded_relu(node) else None
        return _SINGLE.get(node.op)

    def _clip(self, node: Node) -> Kind | None:
        low, high = self._bounds(node)
        if low == 0 and high == 6:
            return "relu6"
        if low == 0 and high in (None, math.inf):
            return "relu"
        return "clip" if self._after_convolution(node) else None

    def _bounds(self, node: Node) -> tuple[float | None, float | None]:
        """(min, max) of a Clip: attributes up to opset 10, inputs from 11 on; None where there is no bound."""
        values: list[float | None] = []
        for place, name in ((1, "min"), (2, "max")):
            if name in node.attributes:
                values.append(float(node.attributes[name]))
            elif node.input(place):
                values.append(self._rounded(self.graph.scalar(node.input(place))))
            else:
                values.append(None)
        low, high = values
        return low, None if high is not None and high > 1e30 else high

    @staticmethod
    def _rounded(value: float | None) -> float | None:
        """Bounds that went through quantization are 5.9998; the nearest whole number is meant."""
        return round(value) if value is not None and abs(value - round(value)) < 0.01 else value

    def _folded_relu(self, node: Node) -> bool:
        """Whether a quantizer dropped a ReLU before this node, since the tensor's lowest value stands for zero."""
        maker = self.graph.makers.get(node.input(0))
        while maker is not None and maker.op == "BatchNormalization":
            maker = self.graph.makers.get(maker.input(0))
        if maker is None or maker.op not in CONVOLUTIONS | {"Add", "Sum"} or len(node.inputs) < 3:
            return False
        zero = self.graph.constants.get(node.input(2))
        if zero is None or zero.dtype.kind not in "iu" or zero.size != 1:
            return False
        lowest = 0 if zero.dtype.kind == "u" else -(2 ** (8 * zero.dtype.itemsize - 1))
        return int(zero.reshape(-1)[0]) == lowest

    def _after_convolution(self, node: Node) -> bool:
        maker = self._maker(node.input(0))
        while maker is not None and maker.op in _BETWEEN:
            maker = self._maker(maker.input(0))
        return maker is not None and maker.op in CONVOLUTIONS

    # -- patterns

    def _pattern(self, node: Node) -> Kind | None:
        if node.op == "Mul":
            return self._product(node)
        if node.op == "Max" and self._leaky_max(node) is not None:
            return "leaky_relu"
        if node.op == "Tanh" and self._tanh_gelu(node):
            return "gelu"
        return None

    def _product(self, node: Node) -> Kind | None:
        """x * f(x), either way round."""
        for value, gate in ((node.input(0), node.input(1)), (node.input(1), node.input(0))):
            maker = self._maker(gate)
            if maker is None or not value:
                continue
            kind = self._gated(self._source(value), maker)
            if kind is not None:
                return kind
        return None

    def _gated(self, value: str, gate: Node) -> Kind | None:
        """The activation value * gate, where the gate is computed from the value."""
        inside = self._source(gate.input(0))
        if gate.op == "Sigmoid" and inside == value:
            return self._takes("silu", gate)
        if gate.op == "HardSigmoid" and inside == value:
            alpha, beta = gate.attributes.get("alpha", 0.2), gate.attributes.get("beta", 0.5)
            return self._takes("hardswish", gate) if _near(alpha, 1 / 6) and _near(beta, 0.5) else None
        if gate.op == "Tanh":
            soft = self._maker(gate.input(0))
            if soft is not None and soft.op == "Softplus" and self._source(soft.input(0)) == value:
                return self._takes("mish", gate, soft)
        return self._relu6_gate(value, gate)

    def _relu6_gate(self, value: str, gate: Node) -> Kind | None:
        """x * relu6(x + 3), divided by 6 before or after the product."""
        clip: Node | None = gate
        if gate.op in {"Div", "Mul"}:
            clip = self._maker(gate.input(0)) if self._sixth(gate) else None
        if clip is None or clip.op != "Clip" or self._bounds(clip) != (0, 6):
            return None
        add = self._maker(clip.input(0))
        if add is None or add.op != "Add" or value not in {self._source(t) for t in add.inputs}:
            return None
        three = any(_near(self.graph.scalar(t), 3.0) for t in add.inputs)
        return self._takes("hardswish", clip) if three else None

    def _sixth(self, node: Node) -> bool:
        factor = 6.0 if node.op == "Div" else 1 / 6
        return _near(self.graph.scalar(node.input(1)), factor)

    def _leaky_max(self, node: Node) -> float | None:
        """The slope of max(x, slope * x); None where it is no LeakyReLU."""
        if len(node.inputs) != 2:
            return None
        for value, other in ((node.input(0), node.input(1)), (node.input(1), node.input(0))):
            maker = self._maker(other)
            if maker is None or maker.op != "Mul":
                continue
            for x, slope in ((maker.input(0), maker.input(1)), (maker.input(1), maker.input(0))):
                found = self.graph.scalar(slope)
                if x and self._source(x) == self._source(value) and found is not None and 0 < found < 1:
                    return found
        return None

    def _tanh_gelu(self, node: Node) -> bool:
        """Whether the Tanh is that of 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
        todo, seen = [self._maker(node.input(0))], 0
        while todo and seen < 8:
            maker, seen = todo.pop(), seen + 1
            if maker is None or maker.op not in {"Mul", "Add", "Pow"}:
                continue
            if any(_near(self.graph.scalar(t), 0.044715) for t in maker.inputs):
                return True
            todo += [self._maker(t) for t in maker.inputs]
        return False

    # -- the graph with quantization looked through

    def _takes(self, kind: Kind, *nodes: Node) -> Kind:
        self.inner |= {n.index for n in nodes}
        return kind

    def _source(self, tensor: str) -> str:
        """The tensor that this one is a quantized, cast or renamed copy of."""
        maker = self.graph.makers.get(tensor)
        while maker is not None and maker.op in _TRANSPARENT and maker.input(0):
            tensor = maker.input(0)
            maker = self.graph.makers.get(tensor)
        return tensor

    def _maker(self, tensor: str) -> Node | None:
        return self.graph.makers.get(self._source(tensor))


def _near(value: float | None, wanted: float) -> bool:
    return value is not None and math.isclose(float(value), wanted, rel_tol=_REL_TOLERANCE)
