"""Three-node ONNX models, built inline: what the tests of the runtime and of the bench run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = list[int | str]


def _save(path: Path, nodes: list[onnx.NodeProto], shape_in: Dims, shape_out: Dims, *weights: onnx.TensorProto) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        list(weights),
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def _kernel() -> onnx.TensorProto:
    values = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    return numpy_helper.from_array(values, "w")


def conv(path: Path, batch: int | str = "batch", size: int | str = 8) -> Path:
    """Conv and Relu; the batch is free unless given as a number."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return _save(path, nodes, [batch, 3, size, size], [batch, 4, size, size], _kernel())


def flattened(path: Path, batch: int = 1) -> Path:
    """Conv and a Reshape to a constant shape that holds the batch."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c", "shape"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.array([batch, 256], np.int64), "shape")
    return _save(path, nodes, [batch, 3, 8, 8], [batch, 256], _kernel(), shape)


def mixing(path: Path) -> Path:
    """Fixed at batch 1, and at any other its items would depend on one another (softmax over the batch)."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    return _save(path, nodes, [1, 3], [1, 3])


def summed(path: Path) -> Path:
    """Fixed at batch 2, and its output has no batch."""
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)]
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    return _save(path, nodes, [2, 3], [1, 3], axes)


def nan(path: Path) -> Path:
    """The logarithm of a negative number."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Sub", ["a", "big"], ["b"]),
        helper.make_node("Log", ["b"], ["y"]),
    ]
    return _save(path, nodes, ["batch", 3], ["batch", 3], numpy_helper.from_array(np.array([1e6], np.float32), "big"))


def constant(path: Path) -> Path:
    """Zero times its input."""
    nodes = [helper.make_node("Mul", ["x", "zero"], ["y"])]
    return _save(path, nodes, ["batch", 3], ["batch", 3], numpy_helper.from_array(np.array([0], np.float32), "zero"))


def custom(path: Path) -> Path:
    """An operator of a domain that nothing here knows."""
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example.ops")]
    return _save(path, nodes, ["batch", 3], ["batch", 3])


def half(path: Path) -> Path:
    """Conv with float16 weights and values."""
    kernel = numpy_helper.from_array(numpy_helper.to_array(_kernel()).astype(np.float16), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["batch", 4, 8, 8])],
        [kernel],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def dynamic(path: Path) -> Path:
    """A matrix product whose values are quantized call by call."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "zero"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["y"]),
    ]
    weights = np.random.default_rng(0).integers(-100, 100, (3, 4)).astype(np.int8)
    return _save(path, nodes, ["batch", 3], ["batch", 4], numpy_helper.from_array(weights, "w"))
