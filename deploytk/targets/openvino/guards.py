"""What must be true of an INT8 model before anybody is told that it is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.errors import ParityFailed
from deploytk.runtimes.openvino import DEVICE, operators
from deploytk.runtimes.openvino_library import ov
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
    core = ov.Core()
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
    if not np.isfinite(got).all():
        raise ParityFailed(f"{path.name}: the INT8 model gives NaN or infinity on real inputs")
    for what, part in parts(expected).items():
        values = got[part]
        if np.ptp(values) == 0 < np.ptp(expected[part]):
            raise ParityFailed(f"{path.name}: in INT8 all its {what} are {values.flat[0]:g}, whatever it sees")


def parts(outputs: np.ndarray) -> dict[str, tuple[slice, ...]]:
    """Where the boxes and the scores of a detector's decoded output (N, 4 + classes, anchors) stand, or all of it."""
    if outputs.ndim == 3 and outputs.shape[1] > 4:
        return {"boxes": np.s_[:, :4], "scores": np.s_[:, 4:]}
    return {"outputs": np.s_[:,]}


def _outputs(model: Any, feeds: Sequence[np.ndarray]) -> np.ndarray:
    """The first outputs for all inputs."""
    return np.concatenate([model(feed)[0].copy() for feed in feeds])
