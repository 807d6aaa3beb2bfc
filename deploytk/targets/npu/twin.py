"""The ReLU twin of an INT8 .tflite: the same weights and shapes, every activation a ReLU.

Its cycles are what the model would cost if its activations were free on the NPU, so that their price has a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from deploytk.graphs import litert
from deploytk.targets.npu.flatbuffer import Wires

#: Operators that are an activation all by themselves. LOGISTIC alone is not one: it is a classifier's output.
_PLAIN = {
    "LEAKY_RELU": "LeakyReLU", "HARD_SWISH": "Hardswish", "PRELU": "PReLU", "GELU": "GELU", "ELU": "ELU",
}  # fmt: skip
#: Operators that clamp their own output for nothing.
_FUSES = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL"})
_RELU = schema.ActivationFunctionType.RELU
_NONE = schema.ActivationFunctionType.NONE


@dataclass(frozen=True)
class Activation:
    """One activation of the graph: what it is, where it reads and writes, and the operators it is made of."""

    kind: str
    source: int
    result: int
    operators: tuple[Any, ...]


def kinds(model: Path) -> dict[str, int]:
    """How many activations of each kind a ReLU twin would replace: {"SiLU": 57}."""
    loaded = litert.load(model)
    return dict(Counter(a.kind for a in activations(loaded)))


def write_twin(model: Path, out: Path, only: Collection[str] = ()) -> int:
    """Write the twin of `model`; how many activations became ReLU (0: the twin is the model itself, not written).

    Args:
        only: the kinds to replace; all of them where empty.
    """
    loaded = litert.load(model)
    chosen = [a for a in activations(loaded) if not only or a.kind in only]
    for activation in chosen:
        _swap(loaded, activation)
    if chosen:
        litert.store(loaded, out)
    return len(chosen)


def activations(model: Any) -> list[Activation]:
    """The activations of a model's main graph that are not ReLU already, in graph order."""
    graph = model.subgraphs[0]
    wires = Wires(graph)
    found: list[Activation] = []
    for operator in graph.operators:
        name = litert.op_name(model, operator)
        if name in _PLAIN:
            found.append(Activation(_PLAIN[name], int(operator.inputs[0]), int(operator.outputs[0]), (operator,)))
        elif name == "LOGISTIC":
            found.extend(_silu(model, wires, operator))
        elif name == "SUB":
            found.extend(_decomposed_prelu(model, wires, operator))
    return found


def _silu(model: Any, wires: Wires, logistic: Any) -> Iterator[Activation]:
    """LOGISTIC(x) that is only multiplied with x: SiLU."""
    x = int(logistic.inputs[0])
    product = wires.only_reader(int(logistic.outputs[0]))
    if product is not None and litert.op_name(model, product) == "MUL" and x in _ins(product):
        yield Activation("SiLU", x, int(product.outputs[0]), (logistic, product))


def _decomposed_prelu(model: Any, wires: Wires, sub: Any) -> Iterator[Activation]:
    """RELU(x) - slope * RELU(-x): how litert_torch writes PReLU."""
    positive, scaled = (wires.maker.get(i) for i in _ins(sub))
    negative = wires.maker.get(_ins(scaled)[0]) if scaled is not None else None
    parts = (positive, negative, scaled)
    if any(p is None for p in parts) or [litert.op_name(model, p) for p in parts] != ["RELU", "MUL", "MUL"]:
        return
    x = _ins(positive)[0]
    if _ins(negative)[0] == x and negative.builtinOptions.fusedActivationFunction == _RELU:  # type: ignore[union-attr]
        yield Activation("PReLU", x, int(sub.outputs[0]), (positive, negative, scaled, sub))


def _ins(operator: Any) -> list[int]:
    return [int(i) for i in operator.inputs]


def _swap(model: Any, activation: Activation) -> None:
    """Make one activation a ReLU: fused into what computes its input where that has no other reader."""
    graph = model.subgraphs[0]
    gone = list(activation.operators)
    wires = Wires(graph)
    readers = [o for o in wires.readers[activation.source] if not any(o is g for g in gone)]
    maker = wires.maker.get(activation.source)
    if maker is not None and not readers and activation.source not in wires.ends and _can_fuse(model, maker):
        maker.builtinOptions.fusedActivationFunction = _RELU
        maker.outputs = [activation.result]
    else:
        _alone(model, gone.pop(), activation)
    graph.operators = [o for o in graph.operators if not any(o is g for g in gone)]


def _can_fuse(model: Any, maker: Any) -> bool:
    fused = getattr(maker.builtinOptions, "fusedActivationFunction", None)
    return litert.op_name(model, maker) in _FUSES and fused == _NONE


def _alone(model: Any, last: Any, activation: Activation) -> None:
    """Turn the activation's last operator into a RELU of its own."""
    last.opcodeIndex = litert.op_code(model, "RELU")
    last.inputs, last.outputs = [activation.source], [activation.result]
    last.builtinOptionsType, last.builtinOptions = schema.BuiltinOptions.NONE, None
    code = model.operatorCodes[last.opcodeIndex]
    code.version = max(code.version, 2)  # int8 came with version 2
