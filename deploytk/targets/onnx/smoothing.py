"""SmoothQuant: channels that tower above the others are scaled down before they are rounded, their readers' weights up.

The function stays the same: between a convolution and the next lie only operators that a positive scale passes
through, so that it goes into the weights on both sides and costs nothing at run time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deploytk.graphs.onnx import Graph, Node
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.running import Feeds, values
from deploytk.targets.onnx.scope import Scope, is_weighted

#: op(scale x) = scale op(x) for a positive scale per channel.
_PASSING = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity"})
#: How the difficulty is shared between activations and weights; SmoothQuant's own default.
_ALPHA = 0.5


def smoothed(model: Any, graph: Graph, scope: Scope, feeds: Feeds) -> tuple[Any, tuple[str, ...]]:
    """A copy of the model with other weights that computes the same; the operators whose outputs are smoother."""
    chains = {node.name: readers for node in graph.nodes if (readers := _chain(graph, node, scope))}
    nodes = protos.nodes(model)
    peaks = _peaks(model, {name: nodes[name].output[0] for name in chains}, feeds) if chains else {}
    changed = protos.copied(model)
    for name, readers in chains.items():
        _rescale(changed, name, readers, peaks[name])
    return changed, tuple(chains)


def _chain(graph: Graph, node: Node, scope: Scope) -> tuple[str, ...]:
    """The INT8 convolutions that one feeds; none where a scale of its output would show anywhere else."""
    if node.op != "Conv" or not is_weighted(graph, node):
        return ()
    waiting, found = [node.outputs[0]], []
    outputs = {o.name for o in graph.outputs}
    while waiting:
        tensor = waiting.pop()
        for reader in graph.readers.get(tensor, ()):
            if reader.op in _PASSING:
                waiting.append(reader.outputs[0])
            elif reader.op == "Conv" and reader.name in scope.weighted and _takes_channels(graph, reader):
                found.append(reader.name)
            else:
                return ()
        if tensor in outputs:
            return ()
    return tuple(found)


def _takes_channels(graph: Graph, node: Node) -> bool:
    """Whether its weight has one place for each input channel: an ordinary or a depthwise convolution."""
    shape = graph.shape(node.input(1)) or ()
    group = node.attributes.get("group", 1)
    return group == 1 or (len(shape) == 4 and shape[1] == 1 and group == shape[0])


def _peaks(model: Any, tensors: dict[str, str], feeds: Feeds) -> dict[str, np.ndarray]:
    """The largest magnitude of each channel of the tensors, by the names that they are given under."""
    peaks: dict[str, np.ndarray] = {}
    for found in values(model, list(tensors.values()), feeds):
        for name, tensor in tensors.items():
            here = np.abs(found[tensor]).max(axis=(0, 2, 3))
            peaks[name] = np.maximum(peaks.get(name, here), here)
    return peaks


def _rescale(model: Any, name: str, readers: tuple[str, ...], peaks: np.ndarray) -> None:
    """Divide what one convolution makes, and multiply the weights of those that read it."""
    nodes, weights = protos.nodes(model), protos.weights(model)
    kernels = [weights[nodes[reader].input[1]] for reader in readers]
    axes = [_input_axis(nodes[reader]) for reader in readers]
    reach = [_reach(protos.array(kernel), axis) for kernel, axis in zip(kernels, axes, strict=True)]
    scale = _scale(peaks, np.max(reach, axis=0))
    for tensor in (weights[t] for t in nodes[name].input[1:] if t in weights):
        protos.put(tensor, _times(protos.array(tensor), 1 / scale, 0))
    for kernel, axis in zip(kernels, axes, strict=True):
        protos.put(kernel, _times(protos.array(kernel), scale, axis))


def _input_axis(node: Any) -> int:
    """The axis of a kernel that counts the input channels: a depthwise one has them where others have their outputs."""
    return 0 if next((a.i for a in node.attribute if a.name == "group"), 1) > 1 else 1


def _reach(kernel: np.ndarray, axis: int) -> np.ndarray:
    """The largest magnitude along one axis."""
    return np.asarray(np.abs(np.moveaxis(kernel, axis, 0)).reshape(kernel.shape[axis], -1).max(axis=1))


def _times(values: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    shape = [1] * values.ndim
    shape[axis] = -1
    return np.asarray(values * scale.reshape(shape), dtype=np.float32)


def _scale(peaks: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """What each channel is divided by; 1 where it is silent."""
    live = (peaks > 0) & (reach > 0)
    scale = np.where(live, peaks, 1) ** _ALPHA / np.where(live, reach, 1) ** (1 - _ALPHA)
    return np.asarray(np.where(live, scale, 1))
