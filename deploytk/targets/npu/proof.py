"""Proof that a rewritten .tflite computes the same: every operator on every value, the whole on real feeds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deploytk.artifact import TensorSpec
from deploytk.errors import ParityFailed
from deploytk.graphs import litert as graphs
from deploytk.runtimes import litert as runtime

#: The int8 kernel multiplies in fixed point: it may round one step away from the float island it replaces.
_OP_STEPS = 1
#: Roundings add up along the network; a wrong rewiring is off by tens of steps on average, not by these.
_MEAN_STEPS = 4.0


def prove(before: Path, after: Path, feeds: Sequence[np.ndarray]) -> dict[str, Any]:
    """How far `after` is from `before`, in quantization steps.

    Args:
        feeds: real inputs, float32, as the model before quantization takes them.

    Returns:
        leaky_ops, op_max_steps (of one operator, over all 256 values), max_steps and mean_steps (outputs), images.

    Raises:
        ParityFailed: an operator is off by more than one step, or the outputs by more than four on average.
    """
    by_operator = leaky_steps(after)
    worst = max(by_operator.values(), default=0)
    if worst > _OP_STEPS:
        name = max(by_operator, key=lambda n: by_operator[n])
        raise ParityFailed(f"{after.name}: int8 LEAKY_RELU {name!r} is off by {worst} steps from the float one")
    told = {"leaky_ops": len(by_operator), "op_max_steps": worst, **_whole(before, after, feeds)}
    if told["mean_steps"] > _MEAN_STEPS:
        raise ParityFailed(
            f"{after.name}: after the LeakyReLU repair the outputs are {told['mean_steps']:.1f} steps off on average"
        )
    return told


def leaky_steps(model: Path) -> dict[str, int]:
    """By name of each int8 LEAKY_RELU: the most it is off, in steps, over all 256 values it can be given."""
    nodes = [n for n in graphs.read(model).nodes if n.op == "LEAKY_RELU" and n.outputs[0].dtype == "int8"]
    if not nodes:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "leaky.tflite"
        _operators_alone(model, nodes, alone)
        session = runtime.open_session(alone, batch=None, threads=1)
        every = np.arange(-128, 128, dtype=np.int8)[None]
        got = session.run({spec.name: every for spec in session.inputs})
    return {
        n.name: int(np.abs(g.astype(int) - _leaky(every, n)).max()) for n, g in zip(nodes, got.values(), strict=True)
    }


def _leaky(values: np.ndarray, node: graphs.Node) -> np.ndarray:
    """What the float island gave: dequantized, LeakyReLU, quantized again."""
    source, result = node.inputs[0], node.outputs[0]
    real = (values.astype(np.float64) - source.zero_points[0]) * source.scales[0]
    real = np.where(real < 0, real * (node.alpha or 0.0), real)
    steps = np.rint(real / result.scales[0]) + result.zero_points[0]
    return np.asarray(np.clip(steps, -128, 127)).astype(int)


def _operators_alone(model: Path, nodes: Sequence[graphs.Node], out: Path) -> None:
    """Write a model of these operators side by side, each with an input of its own that holds all 256 values."""
    whole = graphs.load(model)
    main = whole.subgraphs[0]
    old, operators = main.tensors, [main.operators[n.index] for n in nodes]
    main.tensors, main.inputs, main.outputs, main.operators = [], [], [], operators
    for node, operator in zip(nodes, operators, strict=True):
        for side, index in ((main.inputs, node.inputs[0].index), (main.outputs, node.outputs[0].index)):
            side.append(len(main.tensors))
            main.tensors.append(_of_256(old[index], len(main.tensors)))
        operator.inputs, operator.outputs = [main.inputs[-1]], [main.outputs[-1]]
    empty = schema.BufferT()
    whole.buffers, whole.signatureDefs, whole.metadata = [empty], [], []
    whole.subgraphs = [main]
    graphs.store(whole, out)


def _of_256(tensor: Any, index: int) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = f"t{index}", [1, 256], tensor.type, 0
    made.quantization = tensor.quantization
    return made


def _whole(before: Path, after: Path, feeds: Sequence[np.ndarray]) -> dict[str, Any]:
    one, two = (runtime.open_session(p, batch=None, threads=None) for p in (before, after))
    differences = [_difference(one, two, feed) for feed in feeds]
    joined = np.concatenate(differences) if differences else np.zeros(1)
    return {"max_steps": int(joined.max()), "mean_steps": float(joined.mean()), "images": len(feeds)}


def _difference(one: runtime.LiteRtSession, two: runtime.LiteRtSession, feed: np.ndarray) -> np.ndarray:
    steps = []
    results = (s.run({s.inputs[0].name: quantized(feed, s.inputs[0])}).values() for s in (one, two))
    for a, b in zip(*results, strict=True):
        steps.append(np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel())
    return np.concatenate(steps)


def quantized(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Real numbers in the dtype of a tensor: rounded to its steps where it is quantized."""
    if spec.scale is None or spec.zero_point is None:
        return values.astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    steps = np.rint(values / spec.scale) + spec.zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max)).astype(spec.dtype)


def dequantized(values: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """The real numbers that a tensor's values stand for, as float32."""
    if spec.scale is None or spec.zero_point is None:
        return values.astype(np.float32)
    return (values.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)
