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
#: Roundings add up along the network: an output may be off by this on average, in steps or in parts of its spread.
_MEAN_STEPS, _OF_SPREAD = 0.5, 0.25


def prove(before: Path, after: Path, feeds: Sequence[np.ndarray]) -> dict[str, Any]:
    """How far `after` is from `before`, in quantization steps.

    Args:
        feeds: real inputs, float32, as the model before quantization takes them.

    Returns:
        leaky_ops, op_max_steps (of one operator, over all 256 values), max_steps and mean_steps (outputs), images.

    Raises:
        ParityFailed: an operator is off by more than one step, or an output by more than roundings explain.
    """
    by_operator = leaky_steps(before, after)
    worst = max(by_operator.values(), default=0)
    if worst > _OP_STEPS:
        name = max(by_operator, key=lambda n: by_operator[n])
        raise ParityFailed(f"{after.name}: int8 LEAKY_RELU {name!r} is off by {worst} steps from the float one")
    return {"leaky_ops": len(by_operator), "op_max_steps": worst, **_whole(before, after, feeds)}


def leaky_steps(before: Path, after: Path) -> dict[str, int]:
    """By name of each int8 LEAKY_RELU of `after`: the most steps it is off from `before`, over all 256 values.

    Raises:
        ParityFailed: an int8 LEAKY_RELU that has no counterpart in `before`.
    """
    nodes = [n for n in graphs.read(after).nodes if n.op == "LEAKY_RELU" and n.outputs[0].dtype == "int8"]
    slopes = _slopes(graphs.read(before))
    strange = [n.name for n in nodes if n.inputs[0].index not in slopes]
    if strange:
        raise ParityFailed(f"{after.name}: LEAKY_RELU {strange[0]!r} has no counterpart before the repair")
    if not nodes:
        return {}
    every = np.arange(-128, 128, dtype=np.int8)[None]
    got = _outputs_alone(after, nodes, every)
    wanted = [_leaky(every, n, slopes[n.inputs[0].index]) for n in nodes]
    return {n.name: int(np.abs(g.astype(int) - w).max()) for n, g, w in zip(nodes, got, wanted, strict=True)}


def _slopes(graph: graphs.Graph) -> dict[int, float]:
    """The slope of each LEAKY_RELU by the quantized tensor it starts from, with a DEQUANTIZE before it or not."""
    dequantized_from = {n.outputs[0].index: n.inputs[0].index for n in graph.nodes if n.op == "DEQUANTIZE"}
    leaky = [(n.inputs[0].index, n.alpha or 0.0) for n in graph.nodes if n.op == "LEAKY_RELU"]
    return {dequantized_from.get(source, source): alpha for source, alpha in leaky}


def _outputs_alone(model: Path, nodes: Sequence[graphs.Node], every: np.ndarray) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "leaky.tflite"
        _operators_alone(model, nodes, alone)
        session = runtime.open_session(alone, batch=None, threads=1)
        return list(session.run({spec.name: every for spec in session.inputs}).values())


def _leaky(values: np.ndarray, node: graphs.Node, slope: float) -> np.ndarray:
    """What the float island gave: dequantized, LeakyReLU, quantized again."""
    source, result = node.inputs[0], node.outputs[0]
    real = (values.astype(np.float64) - source.zero_points[0]) * source.scales[0]
    real = np.where(real < 0, real * slope, real)
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
    if not feeds:
        return {"max_steps": 0, "mean_steps": 0.0, "images": 0}
    rows = [[list(s.run({s.inputs[0].name: quantized(f, s.inputs[0])}).values()) for s in (one, two)] for f in feeds]
    means, worst = [], 0.0
    for position, spec in enumerate(one.outputs):
        wanted, got = (np.stack([row[side][position] for row in rows]).astype(np.float64) for side in (0, 1))
        error = np.abs(wanted - got)
        if error.mean() > max(_MEAN_STEPS, _OF_SPREAD * wanted.std()):
            raise ParityFailed(
                f"{after.name}: after the repair output {spec.name!r} is off by {error.mean():.1f} steps on average, "
                f"where its values spread over {wanted.std():.1f}"
            )
        means.append(error.mean())
        worst = max(worst, error.max())
    return {"max_steps": int(worst), "mean_steps": float(np.mean(means)), "images": len(feeds)}


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
