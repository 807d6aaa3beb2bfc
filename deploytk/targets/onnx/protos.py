"""Small questions and changes of an ONNX model in memory: its weights as arrays, its nodes by what they make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def copied(model: Any) -> Any:
    """The model once more, to be changed."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def nodes(model: Any) -> dict[str, Any]:
    """The nodes by name."""
    return {node.name: node for node in model.graph.node}


def makers(model: Any) -> dict[str, Any]:
    """The node that makes each tensor."""
    return {output: node for node in model.graph.node for output in node.output if output}


def readers(model: Any) -> dict[str, list[Any]]:
    """The nodes that read each tensor."""
    found: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for tensor in dict.fromkeys(node.input):
            found.setdefault(tensor, []).append(node)
    return found


def weights(model: Any) -> dict[str, Any]:
    """The initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def array(tensor: Any) -> np.ndarray:
    """The values of an initializer."""
    return np.asarray(numpy_helper.to_array(tensor))


def put(tensor: Any, values: np.ndarray) -> None:
    """Give an initializer other values; its name stays."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def add(model: Any, name: str, values: np.ndarray) -> None:
    """A new initializer."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))


def with_outputs(model: Any, tensors: Iterable[str]) -> Any:
    """A copy of the model whose only outputs are these float tensors."""
    made = copied(model)
    del made.graph.output[:]
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors)
    return made
