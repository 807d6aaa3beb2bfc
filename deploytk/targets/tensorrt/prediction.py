"""What a model for TensorRT answers: an engine on its GPU, its ONNX on this machine's CPU, as it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from deploytk.graphs.identify import identify
from deploytk.runtimes import onnx as on_cpu
from deploytk.targets.onnx import protos

#: Options of the runtime onnx. With its optimisations ONNX Runtime rounds the float16 bias of a QDQ convolution, which
#: TensorRT does not: a ResNet18 kept 10 dB of the 27 that it has as written (docs/tensorrt.md).
AS_WRITTEN = {"optimization": "off"}


def readable(path: Path, folder: Path) -> Path:
    """A file that runs here and answers as the model for TensorRT does: the file itself, or one written to `folder`.

    ONNX Runtime's CPU has no bfloat16: such a model is computed in float32, each result rounded to bfloat16.
    """
    if identify(path).name == "tensorrt-engine":
        return path
    model = onnx.load(str(path))
    if not any(tensor.data_type == TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        return path
    stand_in = folder / path.name
    onnx.save(rounding(model), stand_in)
    return stand_in


def predictor(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """`predict(NCHW float32) -> the first output`, image by image: an engine on the GPU, an ONNX as it is written."""
    if identify(path).name == "tensorrt-engine":
        from deploytk.runtimes import tensorrt as on_gpu

        session: Any = on_gpu.open_session(path, batch=None, threads=None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            there = readable(path, Path(folder))
            session = on_cpu.open_session(there, batch=None, threads=None, options=AS_WRITTEN)
    name = session.inputs[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        rows = (next(iter(session.run({name: images[i : i + 1]}).values())) for i in range(len(images)))
        return np.concatenate([row.copy() for row in rows])

    return predict


def rounding(model: Any) -> Any:
    """A bfloat16 model as one in float32 that rounds to bfloat16 what it has as weights, and what each node makes."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    made = protos.copied(model)
    del made.graph.value_info[:]
    for tensor in [*made.graph.initializer, *_constants(made)]:
        if tensor.data_type == TensorProto.BFLOAT16:
            protos.put(tensor, protos.array(tensor).astype(np.float32))
    nodes = []
    for node in made.graph.node:
        nodes.append(node)
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.BFLOAT16:
            node.attribute[0].i = TensorProto.FLOAT
        if kinds.get(node.output[0]) == TensorProto.BFLOAT16:
            nodes += _rounded(node)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def _constants(model: Any) -> list[Any]:
    return [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]


def _rounded(node: Any) -> list[Any]:
    """Two casts that give the node's first output its own name again, rounded."""
    name = node.output[0]
    node.output[0] = f"{name}:exact"
    there = helper.make_node("Cast", [node.output[0]], [f"{name}:short"], name=f"{name}:short", to=TensorProto.BFLOAT16)
    back = helper.make_node("Cast", [f"{name}:short"], [name], name=f"{name}:rounded", to=TensorProto.FLOAT)
    return [there, back]
