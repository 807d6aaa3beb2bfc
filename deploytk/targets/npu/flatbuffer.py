"""Passes that make a quantized .tflite what Vela expects; each leaves a normal model as it is.

ai-edge-quantizer 0.10 has no LEAKY_RELU: it leaves DEQUANTIZE -> LEAKY_RELU (float) -> QUANTIZE at each one, and
Vela puts all three on the CPU. It may also keep constants behind the flatbuffer, where Vela's legacy reader sees none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk.files import written_whole
from deploytk.graphs import litert

#: Operators whose output must have the scale of their input, so that the tensors they read cannot be replaced.
_RIGID = frozenset({
    "CONCATENATION", "PAD", "PADV2", "MIRROR_PAD", "MAX_POOL_2D", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SLICE",
    "STRIDED_SLICE", "SPLIT", "SPLIT_V", "PACK", "UNPACK", "TRANSPOSE", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR",
    "GATHER", "TILE", "MINIMUM", "MAXIMUM", "SOFTMAX",
})  # fmt: skip
#: Two scales this close differ by less than half a quantization step over the whole int8 range.
_SAME_SCALE = 1 / 512


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """What the passes changed."""

    inlined: int = 0  # constants moved into the flatbuffer
    collapsed: int = 0  # float LEAKY_RELU islands that became one int8 LEAKY_RELU
    merged: int = 0  # QUANTIZE operators that went because another output has the same scale
    requantized: int = 0  # QUANTIZE operators that became int8 -> int8

    @property
    def changed(self) -> bool:
        """Whether the model differs from what it was."""
        return self != Normalised()


class Wires:
    """Who makes and who reads each tensor of a graph."""

    def __init__(self, graph: Any) -> None:
        self.maker: dict[int, Any] = {}
        self.readers: dict[int, list[Any]] = defaultdict(list)
        self.ends = {int(i) for i in graph.outputs}
        for operator in graph.operators:
            self.maker |= {int(i): operator for i in operator.outputs}
            for i in operator.inputs:
                self.readers[int(i)].append(operator)

    def only_reader(self, tensor: int) -> Any:
        """The one operator that reads `tensor`; None where there are more, or where it is an output of the model."""
        readers = self.readers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self.ends else None


def normalise(source: Path, out: Path) -> Normalised:
    """Write the model with every pass applied; what they changed. A normal model is copied as it is, byte by byte.

    Raises:
        InputError: `source` is no readable .tflite file.
    """
    model = litert.load(source)
    data = source.read_bytes()
    done = Normalised(inlined=litert.inline(model, data), **collapse_leaky(model))
    if done.changed:
        litert.store(model, out)
    else:
        with written_whole(out) as temporary:
            temporary.write_bytes(data)
    return done


def collapse_leaky(model: Any) -> dict[str, int]:
    """What was done, as `Normalised` counts it: every DEQUANTIZE -> LEAKY_RELU -> QUANTIZE is one int8 LEAKY_RELU."""
    graph = model.subgraphs[0]
    counts = {"collapsed": 0, "merged": 0, "requantized": 0}
    for leaky in [o for o in graph.operators if litert.op_name(model, o) == "LEAKY_RELU"]:
        wires = Wires(graph)
        if _is_island(model, graph, wires, leaky):
            merged, kept = _collapse(model, graph, wires, leaky)
            counts["collapsed"] += 1
            counts["merged"] += merged
            counts["requantized"] += kept
    return counts


def _is_island(model: Any, graph: Any, wires: Wires, leaky: Any) -> bool:
    """Whether the operator stands between one DEQUANTIZE and nothing but QUANTIZE."""
    source, result = int(leaky.inputs[0]), int(leaky.outputs[0])
    before, after = wires.maker.get(source), wires.readers[result]
    if before is None or litert.op_name(model, before) != "DEQUANTIZE" or result in wires.ends or not after:
        return False
    if any(litert.op_name(model, o) != "QUANTIZE" for o in after):
        return False
    kinds = {litert.dtype_of(graph.tensors[i]) for i in (before.inputs[0], *(o.outputs[0] for o in after))}
    return len(kinds) == 1 and kinds <= litert.INTEGER


def _collapse(model: Any, graph: Any, wires: Wires, leaky: Any) -> tuple[int, int]:
    """Rewire one island; (QUANTIZE operators merged away, QUANTIZE operators kept as int8 -> int8)."""
    before = wires.maker[int(leaky.inputs[0])]
    quantizers = sorted(wires.readers[int(leaky.outputs[0])], key=lambda o: not _is_rigid(model, wires, o))
    first, *others = quantizers
    main = int(first.outputs[0])
    gone = [first]
    for other in others:
        extra = int(other.outputs[0])
        tolerance = 0.0 if _is_rigid(model, wires, other) else _SAME_SCALE
        if extra not in wires.ends and same_scale(graph, main, extra, tolerance):
            _replace(wires.readers[extra], extra, main)
            gone.append(other)
        else:
            other.inputs = [main]
    if wires.only_reader(int(leaky.inputs[0])) is leaky:
        gone.append(before)
    leaky.inputs, leaky.outputs = [int(before.inputs[0])], [main]
    # int8 came with version 2 of both operators.
    for operator in (leaky, first):
        code = model.operatorCodes[operator.opcodeIndex]
        code.version = max(code.version, 2)
    _remove(graph, gone)
    merged = sum(1 for o in gone if o in others)
    return merged, len(others) - merged


def _is_rigid(model: Any, wires: Wires, quantizer: Any) -> bool:
    tensor = int(quantizer.outputs[0])
    return tensor in wires.ends or any(litert.op_name(model, o) in _RIGID for o in wires.readers[tensor])


def same_scale(graph: Any, a: int, b: int, tolerance: float) -> bool:
    """Whether the values of two quantized tensors stand for the same numbers, their scales equal to `tolerance`."""
    one, two = graph.tensors[a].quantization, graph.tensors[b].quantization
    if int(one.zeroPoint[0]) != int(two.zeroPoint[0]):
        return False
    return math.isclose(float(one.scale[0]), float(two.scale[0]), rel_tol=tolerance)


def _replace(readers: Iterable[Any], old: int, new: int) -> None:
    for operator in readers:
        operator.inputs = [new if int(i) == old else int(i) for i in operator.inputs]


def _remove(graph: Any, gone: list[Any]) -> None:
    graph.operators = [o for o in graph.operators if not any(o is g for g in gone)]
