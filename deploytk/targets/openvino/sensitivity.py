"""What the outputs lose by each operator that is INT8 alone: the float model with that one operator quantized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.data import agreement
from deploytk.recipe import Recipe
from deploytk.runtimes.openvino import DEVICE, one_core
from deploytk.targets.openvino import nodes
from deploytk.targets.openvino.conversion import opened
from deploytk.targets.openvino.guards import EXACT, detects
from deploytk.targets.openvino.quantization import Feeds, Passes, quantized

#: Operators that hand INT8 on as it is; whose quantizer it is shows behind them.
_PASSING = frozenset(
    {"Concat", "MaxPool", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice", "StridedSlice", "Split",
     "VariadicSplit", "Interpolate", "Pad", "Gather", "Relu", "Clamp"}
)  # fmt: skip


def sensitivities(model: Path, feeds: Feeds, *, images: int) -> list[dict[str, Any]]:
    """What each quantizable operator costs, the worst first: node (its name in the ONNX), op and sqnr_db.

    For a detector `sqnr_db` is that of the boxes or of the scores, whichever lost more.

    Args:
        images: on how many of the calibration inputs the outputs are compared.

    Raises:
        InputError: no inputs, or other inputs than the model's.
    """
    source = opened(model)
    passes = Passes(feeds, source)
    # With weights left as FakeQuantize each operator's quantizers can be told apart.
    made = quantized(source, passes, Recipe(), backend_params={"compress_weights": False})
    samples = passes.first(images)
    for each in (source, made):
        each.reshape(list(samples[0].shape))
    expected = _outputs(source, samples)
    found = []
    users = dict(_users(made))
    for done, (node, own) in enumerate(users.items(), start=1):
        worker.emit(done=done, total=len(users), text=f"sensitivity of {node}")
        lost = sqnr_db(expected, _outputs(_with_only(made, own["quantizers"]), samples))
        found.append({"node": node, "op": own["op"], "sqnr_db": lost})
    return sorted(found, key=lambda row: float(row["sqnr_db"]))


def sqnr_db(expected: np.ndarray, got: np.ndarray) -> float:
    """The signal-to-noise ratio of the outputs; of a detector's that of the part that lost more."""
    if not detects(expected):
        return agreement.distance(expected, got).sqnr_db
    wanted, given = agreement.parts(expected), agreement.parts(got)
    return min(agreement.distance(wanted[name], given[name]).sqnr_db for name in wanted)


def _users(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """ONNX node -> its operator and the friendly names of the quantizers whose INT8 it takes."""
    for node in model.get_ordered_ops():
        own = sorted(_quantizers_of(node))
        if own and node.get_type_name() not in _PASSING | {"FakeQuantize"}:
            yield nodes.name(node), {"op": node.get_type_name(), "quantizers": own}


def _quantizers_of(node: Any) -> set[str]:
    """The quantizers on the way into an operator, through operators that only hand values on."""
    found: set[str] = set()
    for value in node.input_values():
        before = value.get_node()
        if before.get_type_name() == "FakeQuantize":
            found.add(str(before.friendly_name))
        elif before.get_type_name() in _PASSING:
            found |= _quantizers_of(before)
    return found


def _with_only(model: Any, kept: list[str]) -> Any:
    """A copy of the model in which only these quantizers are left."""
    copy = model.clone()
    for quantizer in nodes.quantizers(copy):
        if quantizer.friendly_name not in kept:
            for taken in quantizer.output(0).get_target_inputs():
                taken.replace_source_output(quantizer.input_value(0))
    return copy


def _outputs(model: Any, samples: list[np.ndarray]) -> np.ndarray:
    compiled = one_core().compile_model(model, DEVICE, EXACT)
    return np.concatenate([compiled(sample)[0].copy() for sample in samples])
