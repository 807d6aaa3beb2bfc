"""A batch 1 .tflite for another batch size: the constants that hold the batch get the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deploytk.graphs import litert

#: Operator -> (the input that holds an output shape, the input that holds where the output begins).
_SHAPED: dict[str, tuple[int, int | None]] = {
    "RESHAPE": (1, None), "SLICE": (2, 1), "STRIDED_SLICE": (2, 1), "TRANSPOSE_CONV": (0, None),
    "BROADCAST_TO": (1, None), "FILL": (0, None),
}  # fmt: skip
_INTEGERS = {"int32": np.int32, "int64": np.int64}


def rebatched(path: Path, batch: int) -> bytes:
    """The model with `batch` in place of the 1 that leads a shape held in a constant; the inputs are still batch 1.

    Whether every such 1 is the batch cannot be seen here: whoever uses the result compares it with batch 1, by item.

    Raises:
        InputError: not a readable .tflite file.
    """
    model = litert.load(path)
    litert.inline(model, path.read_bytes())
    graph = model.subgraphs[0]
    for operator in graph.operators:
        name = litert.op_name(model, operator)
        if name in _SHAPED and _leads_with_one(model, graph, operator, *_SHAPED[name]):
            _set_batch(model, graph, operator, _SHAPED[name][0], batch)
    return litert.packed(model)


def _leads_with_one(model: Any, graph: Any, operator: Any, at: int, begin: int | None) -> bool:
    """Whether the operator cuts or shapes to a leading 1 that begins at 0 and stays an axis."""
    if len(operator.inputs) <= at or getattr(operator.builtinOptions, "shrinkAxisMask", 0) & 1:
        return False
    starts = _constant(model, graph, operator.inputs[begin]) if begin is not None else None
    shape = _constant(model, graph, operator.inputs[at])
    from_zero = begin is None or (starts is not None and starts[0] == 0)
    return shape is not None and shape[0] == 1 and from_zero


def _constant(model: Any, graph: Any, index: int) -> np.ndarray | None:
    tensor = graph.tensors[index]
    data, kind = model.buffers[tensor.buffer].data, _INTEGERS.get(litert.dtype_of(tensor))
    if index < 0 or kind is None or data is None or not len(data):
        return None
    return np.frombuffer(bytes(bytearray(data)), dtype=kind)


def _set_batch(model: Any, graph: Any, operator: Any, at: int, batch: int) -> None:
    """Give the operator a constant of its own: another may read the same one and mean something else."""
    old = graph.tensors[operator.inputs[at]]
    shape = _constant(model, graph, operator.inputs[at])
    assert shape is not None  # `_leads_with_one` has seen it
    changed = np.concatenate([np.array([batch], shape.dtype), shape[1:]])
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(changed.tobytes(), dtype=np.uint8)
    tensor.name, tensor.shape, tensor.type, tensor.buffer = old.name, old.shape, old.type, len(model.buffers)
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    operator.inputs = [len(graph.tensors) - 1 if i == at else int(t) for i, t in enumerate(operator.inputs)]
    if isinstance(operator.builtinOptions, schema.ReshapeOptionsT):
        operator.builtinOptions.newShape = [int(d) for d in changed]
