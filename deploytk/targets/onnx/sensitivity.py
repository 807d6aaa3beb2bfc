"""What each weighted operator costs in INT8: it alone is quantized, and the outputs compared with the float ones."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.targets.onnx import grafting, preparing, qdq, schemes
from deploytk.targets.onnx.power import Power
from deploytk.targets.onnx.ranges import ranges
from deploytk.targets.onnx.running import Feeds, values
from deploytk.targets.onnx.scope import scope


def sensitivities(model: Path, feeds: Feeds, *, images: int) -> list[dict[str, Any]]:
    """`node`, `op` and `sqnr_db` of each operator that INT8 would change, the most sensitive first.

    The dB are those of the worst output where the float decoding takes over (each map of a detector's head, a
    classifier's logits): behind it boxes in pixels would hide the scores. Measured on the first `images` images.

    Raises:
        InputError: nothing to quantize, or images that the model does not take.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, graph = preparing.prepared(model, Path(folder) / "float.onnx")
    wanted = scope(graph)

    def few() -> Any:
        return islice(feeds(), images)

    extents, _ = ranges(whole, wanted.tensors, few, "minmax")
    pair = grafting.Pair(whole, qdq.quantized(whole, extents, wanted, schemes.types("auto")))
    expected = [_boundary(found, wanted.boundary) for found in values(whole, wanted.boundary, few)]
    ops = {node.name: node.op for node in graph.nodes}
    measured = []
    for done, name in enumerate(wanted.weighted, 1):
        measured.append({"node": name, "op": ops[name], "sqnr_db": _alone(pair, name, wanted.boundary, few, expected)})
        worker.emit(done=done, total=len(wanted.weighted), text=f"sensitivity of {name}")
    return sorted(measured, key=lambda one: one["sqnr_db"])


def _alone(
    pair: grafting.Pair, name: str, boundary: Sequence[str], feeds: Feeds, expected: list[list[np.ndarray]]
) -> float:
    grafted, moved = pair.alone(name)
    powers = [Power() for _ in boundary]
    places = [moved.get(tensor, tensor) for tensor in boundary]
    for wanted, found in zip(expected, values(grafted, places, feeds), strict=True):
        for power, float_values, place in zip(powers, wanted, places, strict=True):
            power.take(float_values, found[place])
    return round(min(power.sqnr_db for power in powers), 2)


def _boundary(found: dict[str, np.ndarray], boundary: Sequence[str]) -> list[np.ndarray]:
    return [found[tensor] for tensor in boundary]
