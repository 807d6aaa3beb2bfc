"""Small networks for the tests of parity: a chain of convolutions, a detector's output, a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = list[int | str]
IMAGES = np.random.default_rng(7).random((6, 3, 64, 64)).astype(np.float32)


def samples(folder: Path, images: np.ndarray = IMAGES) -> str:
    """The images as an .npz."""
    path = folder / "samples.npz"
    np.savez(path, images=images)
    return str(path)


def chain(
    path: Path, *, batch: int | str = "batch", side: int | str = 64, wrong: int | None = None, reshape: bool = False
) -> Path:
    """Four convolutions `/model.N/conv/Conv`, each with a Relu; the weights of layer `wrong` are other ones.

    Args:
        reshape: it ends in a Reshape to a constant shape, which holds batch 1.
    """
    rng, nodes, weights, value = np.random.default_rng(1), [], [], "images"
    for number, (given, made) in enumerate(((3, 8), (8, 8), (8, 8), (8, 4))):
        kernel = rng.normal(0, (2 / (9 * given)) ** 0.5, (made, given, 3, 3)).astype(np.float32)
        kernel = kernel[::-1].copy() if number == wrong else kernel
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        name = f"/model.{number}"
        conv, relu = f"{name}/conv/out", f"{name}/act/out" if number < 3 or reshape else "y"
        nodes.append(
            helper.make_node("Conv", [value, f"w{number}"], [conv], name=f"{name}/conv/Conv", pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [conv], [relu], name=f"{name}/act/Relu"))
        value = relu
    if reshape:
        weights.append(numpy_helper.from_array(np.array([1, 4, 64, 64], np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", [value, "shape"], ["y"], name="/end/Reshape"))
    return _saved(path, nodes, weights, [batch, 3, side, side], [batch, 4, side, side])


def classifier(path: Path, *, turned: bool = False, scale: float = 1.0) -> Path:
    """Five classes from the mean colour; `turned` has the first two exchanged."""
    rows = scale * np.random.default_rng(2).normal(0, 40, (3, 5)).astype(np.float32)
    rows = rows[:, [1, 0, 2, 3, 4]] if turned else rows
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["p"], name="/pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="/flat"),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="/fc/Gemm"),
    ]
    return _saved(path, nodes, [numpy_helper.from_array(rows, "w")], ["batch", 3, 64, 64], ["batch", 5])


def _saved(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], given: Dims, made: Dims) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
