"""Small ONNX graphs for tests, written as a list of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploytk.graphs import onnx as graphs

NodeText = tuple[Any, ...]  # (op, inputs, outputs) or (op, inputs, outputs, attributes)


def model(
    nodes: Sequence[NodeText],
    *,
    constants: Mapping[str, Any] | None = None,
    shape: Sequence[int | str] = (1, 3, 8, 8),
    dtype: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    names: Sequence[str] = (),
    domain: str = "",
) -> onnx.ModelProto:
    """A model with the input `x` and the given nodes: names as one string, `"x w" -> ["x", "w"]`."""
    made = []
    for i, (op, ins, outs, *rest) in enumerate(nodes):
        at = dict(rest[0]) if rest else {}
        own = at.pop("domain", "")
        name = names[i] if i < len(names) else f"{op}_{i}"
        made.append(helper.make_node(op, ins.split(" "), outs.split(" "), name=name, domain=own, **at))
    arrays = {
        k: np.asarray(v, dtype=None if isinstance(v, np.ndarray | np.generic) else np.float32)
        for k, v in (constants or {}).items()
    }
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def graph(folder: Path, nodes: Sequence[NodeText], **options: Any) -> graphs.Graph:
    """The model written to a file and read back."""
    path = folder / "m.onnx"
    onnx.save(model(nodes, **options), path)
    return graphs.read(path)


WEIGHT = np.zeros((3, 3, 3, 3), np.float32)
