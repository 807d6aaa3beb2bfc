"""What must be true of an INT8 model before anybody is told that it is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.data import agreement
from deploytk.errors import ParityFailed
from deploytk.runtimes.openvino import DEVICE, one_core, operators
from deploytk.targets.openvino import nodes

#: What OpenVINO is told so that roundings of the floats are no part of a comparison.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
#: Inputs on which the INT8 model is compared with the float one.
LOOKED_AT = 4


def proved(source: Any, path: Path, feeds: Sequence[np.ndarray]) -> dict[str, int]:
    """How many operators of the IR at `path` are INT8: quantizers, and quantized_ops and float_ops with weights.

    Raises:
        ParityFailed: nothing is quantized in the file, nothing computes in INT8, or the outputs collapsed.
    """
    core = one_core()
    made = core.read_model(path)
    quantizers = len(nodes.quantizers(made))
    if not quantizers:
        raise ParityFailed(f"{path.name}: INT8 was asked for, and no tensor of it is quantized: it is a float model")
    compiled = core.compile_model(made, DEVICE, EXACT)
    kinds = operators(compiled)
    if not kinds["int8"]:
        raise ParityFailed(f"{path.name}: INT8 was asked for, and OpenVINO computes it in {', '.join(kinds)} here")
    require_alive(path, _outputs(core.compile_model(source, DEVICE, EXACT), feeds), _outputs(compiled, feeds))
    return {"quantizers": quantizers, "quantized_ops": kinds["int8"], "float_ops": kinds.total() - kinds["int8"]}


def require_alive(path: Path, expected: np.ndarray, got: np.ndarray) -> None:
    """Nothing, where no part of the outputs became one value for everything although the float model's differs.

    Raises:
        ParityFailed: it did, or the outputs hold NaN or infinity.
    """
    told = agreement.wrong(expected, got)
    if not told and detects(expected):
        told = agreement.decoded(expected, got).get("error", "")
    if told:
        raise ParityFailed(f"{path.name}: in INT8 {told}")


def detects(outputs: np.ndarray) -> bool:
    """Whether these look like a detector's decoded outputs (N, 4 + classes, anchors)."""
    return outputs.ndim == 3 and outputs.shape[1] > 4


def _outputs(model: Any, feeds: Sequence[np.ndarray]) -> np.ndarray:
    """The first outputs for all inputs."""
    return np.concatenate([model(feed)[0].copy() for feed in feeds])
