"""What the Ethos-U rules read from ONNX nodes: windows, strides, padding, sizes."""

from __future__ import annotations

import math

from deploytk.graphs.onnx import Graph, Node


def ints(node: Node, name: str, default: int) -> tuple[int, ...]:
    """An attribute that is a list of whole numbers; (default, default) where it is not given."""
    value = node.attributes.get(name)
    if not isinstance(value, tuple) or not value:
        return (default, default) if default else ()
    return tuple(int(v) for v in value)


def whole(node: Node, name: str, default: int) -> int:
    """An attribute that is one whole number."""
    value = node.attributes.get(name, default)
    return value if isinstance(value, int) else default


def padded(node: Node) -> bool:
    """Whether a window reaches over the edge of the image."""
    return any(ints(node, "pads", 0)) or str(node.attributes.get("auto_pad", "")).startswith("SAME")


def depthwise(node: Node, graph: Graph) -> bool:
    """Whether a convolution has one filter for each channel."""
    group = whole(node, "group", 1)
    weight = graph.shape(node.input(1))
    return node.op == "Conv" and group > 1 and weight is not None and len(weight) > 1 and weight[1] == 1


def window(kernel: tuple[int, ...]) -> str:
    """What is wrong with a pooling window without padding; empty where nothing is."""
    return f"the window is {by(kernel)}" if kernel[0] > 256 or math.prod(kernel) > 256 * 256 else ""


def by(values: tuple[int | float, ...]) -> str:
    """Sizes as people write them: `3 x 3`."""
    return " x ".join(f"{v:g}" for v in values)


def known(shape: tuple[int | str, ...] | None) -> tuple[int, ...] | None:
    """A shape whose sizes are all known, the free batch taken as 1."""
    if not shape:
        return None
    sizes = tuple(1 if i == 0 and isinstance(d, str) else d for i, d in enumerate(shape))
    return tuple(int(d) for d in sizes) if all(isinstance(d, int) for d in sizes) else None


def scales(node: Node, graph: Graph) -> tuple[float, float] | None:
    """(height, width) of a resize: from its shapes, else from its constant scales."""
    before, after = known(graph.shape(node.input(0))), known(graph.shape(next(iter(node.outputs), "")))
    if before and after and len(before) == len(after) == 4 and before[2] and before[3]:
        return after[2] / before[2], after[3] / before[3]
    given = graph.constants.get(node.input(1 if node.op == "Upsample" else 2))
    return (float(given.reshape(-1)[2]), float(given.reshape(-1)[3])) if given is not None and given.size == 4 else None


def axes(node: Node, graph: Graph, rank: int) -> tuple[int, ...]:
    """The axes that a reduction is over."""
    if node.op == "GlobalAveragePool":
        return tuple(range(2, rank))
    given = ints(node, "axes", 0)
    values = graph.constants.get(node.input(1))
    if not given and values is not None and values.dtype.kind == "i":
        given = tuple(int(a) for a in values.reshape(-1))
    return tuple(a % rank for a in given) or tuple(range(rank))


def constant(tensor: str, graph: Graph, depth: int = 4) -> bool:
    """Whether a tensor is a constant, or computed from constants alone in a few steps (a dequantized one)."""
    if tensor in graph.weights:
        return True
    maker = graph.makers.get(tensor)
    return maker is not None and depth > 0 and all(constant(t, graph, depth - 1) for t in maker.inputs if t)
