"""Fast bias correction: what rounding shifts an operator's output by on average is taken out of its bias.

Each INT8 operator is put beside its float self on the same images, both reading the float model's activations, so one
pass over the images gives all shifts, and no activation leaves the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploytk.graphs.onnx import Graph
from deploytk.targets.onnx import grafting, protos
from deploytk.targets.onnx.running import Feeds, values

_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})


def corrected(model: Any, made: Any, graph: Graph, names: Sequence[str], feeds: Feeds) -> tuple[Any, tuple[str, ...]]:
    """A copy of the float model with other biases, and the operators that have them.

    Args:
        made: the QDQ model of `model`.
        names: its INT8 operators.
    """
    shifts = _shifts(model, made, graph, [n for n in names if _has_bias(protos.nodes(model)[n])], feeds)
    changed = protos.copied(model)
    for name, shift in shifts.items():
        _add(changed, name, -shift)
    return changed, tuple(shifts)


def _has_bias(node: Any) -> bool:
    """Whether a bias can be given to it as it stands: Gemm may scale its own."""
    beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0)
    return node.op_type in _BIASED and beta == 1.0


def _shifts(model: Any, made: Any, graph: Graph, names: list[str], feeds: Feeds) -> dict[str, np.ndarray]:
    grafted, twins = grafting.Pair(model, made).beside(names)
    nodes = protos.nodes(model)
    means = {}
    for name in names:
        rank = len(graph.shape(nodes[name].output[0]) or ())
        means[name] = grafting.mean_difference(grafted, twins[name], nodes[name].output[0], rank)
    sums: dict[str, np.ndarray] = {}
    count = 0
    for found in values(grafted, list(means.values()), feeds):
        sums = {name: found[mean] + sums.get(name, np.float64(0)) for name, mean in means.items()}
        count += 1
    return {name: total / count for name, total in sums.items()}


def _add(model: Any, name: str, change: np.ndarray) -> None:
    """Add to the bias of an operator, or give it one."""
    node, weights = protos.nodes(model)[name], protos.weights(model)
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias:
        protos.put(weights[bias], (protos.array(weights[bias]) + change).astype(np.float32))
        return
    protos.add(model, f"{name}:bias", change.astype(np.float32))
    node.input[:] = [*node.input[:2], f"{name}:bias"]
