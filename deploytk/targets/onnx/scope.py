"""Which nodes of a graph become INT8: the weighted operators and what lies between them. Imports no library."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deploytk.errors import InputError
from deploytk.graphs.onnx import Graph, Node

#: Operators whose second input is a weight: what INT8 makes fast.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: What may lie between two of them and has an INT8 kernel.
_BETWEEN = frozenset(
    {
        "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad",
        "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
#: Costs nothing where its maker is INT8: the range of the maker's output does its work.
_FREE = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What becomes INT8 in a graph. All are names, in the graph's order."""

    weighted: tuple[str, ...]  # weighted operators in INT8
    between: tuple[str, ...]  # other operators in INT8
    kept: tuple[str, ...]  # weighted operators that stay in float
    tensors: tuple[str, ...]  # whose ranges must be known
    boundary: tuple[str, ...]  # the tensors at which the decoding, or the user, takes over in float

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes in INT8."""
        return self.weighted + self.between


def scope(graph: Graph, float_nodes: Sequence[str] = ()) -> Scope:
    """The scope of a graph, with `float_nodes` left in float.

    What comes after the last weighted operators (softmax over the box distribution, boxes, sigmoid) stays in float: one
    scale for boxes and scores rounds each score to zero.

    Raises:
        InputError: a node that is not in the graph; no weighted operator at all.
    """
    _require_known(graph, float_nodes)
    weighted = [n for n in graph.nodes if is_weighted(graph, n)]
    if not weighted:
        raise _nothing_weighted(graph)
    chosen = _joined(graph, {n.name for n in weighted}, set(float_nodes))
    nodes = [n for n in graph.nodes if n.name in chosen]
    return Scope(
        weighted=tuple(n.name for n in weighted if n.name in chosen),
        between=tuple(n.name for n in nodes if n not in weighted),
        kept=tuple(n.name for n in weighted if n.name not in chosen),
        tensors=tuple(dict.fromkeys(t for n in nodes for t in (*n.inputs, *n.outputs) if _is_activation(graph, t))),
        boundary=_boundary(graph, {n.name for n in weighted}),
    )


def is_weighted(graph: Graph, node: Node) -> bool:
    """Whether it is a Conv, Gemm or MatMul with constant weights that were learned."""
    return node.op in WEIGHTED and node.input(1) in graph.weights and not _is_expectation(graph, node)


def _is_expectation(graph: Graph, node: Node) -> bool:
    """Whether it sums a distribution with the weights 0, 1, 2...: Ultralytics' DFL, a part of the decoding."""
    weight = graph.constants.get(node.input(1))
    return weight is not None and weight.size > 1 and np.array_equal(weight.reshape(-1), np.arange(weight.size))


def _require_known(graph: Graph, names: Iterable[str]) -> None:
    known = [n.name for n in graph.nodes]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{graph.path.name}: has no node {name!r} to keep in float{hint}")


def _joined(graph: Graph, weighted: set[str], kept: set[str]) -> set[str]:
    """The names of all nodes in INT8: one between joins where an INT8 node makes its input and another reads it."""
    may = {n.name for n in graph.nodes if n.op in _BETWEEN and n.name not in kept and _is_float(graph, n)}
    may &= _reached(graph, weighted, readers_of(graph)) & _reached(graph, weighted, makers_of(graph))
    chosen: set[str] = set()
    for node in graph.nodes:
        fed = any(maker.name in chosen for maker in makers_of(graph)(node))
        if node.name in weighted - kept or (node.name in may and fed):
            chosen.add(node.name)
    for node in reversed(graph.nodes):
        read = any(reader.name in chosen for reader in readers_of(graph)(node))
        if node.name in may and node.op not in _FREE and not read:
            chosen.discard(node.name)
    return chosen


def makers_of(graph: Graph) -> Callable[[Node], list[Node]]:
    """`of(node) -> the nodes that make its inputs`."""
    return lambda node: [graph.makers[t] for t in node.inputs if t in graph.makers]


def readers_of(graph: Graph) -> Callable[[Node], list[Node]]:
    """`of(node) -> the nodes that read its outputs`."""
    return lambda node: [reader for t in node.outputs for reader in graph.readers.get(t, ())]


def _reached(graph: Graph, start: set[str], step: Callable[[Node], list[Node]]) -> set[str]:
    """The names of the nodes that one or more steps lead to from those in `start`."""
    found: set[str] = set()
    waiting = [n for n in graph.nodes if n.name in start]
    while waiting:
        new = [n for n in step(waiting.pop()) if n.name not in found]
        found.update(n.name for n in new)
        waiting += new
    return found


def decoding(graph: Graph) -> tuple[str, ...]:
    """The names of the nodes after the last weighted operators: they make the answer readable, and stay in float.

    Raises:
        InputError: no weighted operator at all.
    """
    weighted = {n.name for n in graph.nodes if is_weighted(graph, n)}
    if not weighted:
        raise _nothing_weighted(graph)
    before = weighted | _reached(graph, weighted, makers_of(graph))
    return tuple(n.name for n in graph.nodes if n.name not in before and n.op != "Constant")


def _nothing_weighted(graph: Graph) -> InputError:
    why = "another precision would change nothing"
    return InputError(f"{graph.path.name}: has no Conv, Gemm or MatMul with weights; {why}")


def _boundary(graph: Graph, weighted: set[str]) -> tuple[str, ...]:
    """What the weighted operators hand to those after which no more come, or to the user."""
    before = weighted | _reached(graph, weighted, makers_of(graph))
    outputs = {o.name for o in graph.outputs}
    found = []
    for node in (n for n in graph.nodes if n.name in before and _is_float(graph, n)):
        for tensor in node.outputs:
            read = [r for r in graph.readers.get(tensor, ()) if r.name not in before]
            if (read and node.op != "Constant") or tensor in outputs:
                found.append(tensor)
    return tuple(found)


def _is_float(graph: Graph, node: Node) -> bool:
    return graph.dtypes.get(node.outputs[0]) == "float32"


def _is_activation(graph: Graph, tensor: str) -> bool:
    return bool(tensor) and tensor not in graph.weights and graph.dtypes.get(tensor) == "float32"
