"""OpenVINO: ONNX -> IR in float, with float16 weights, or INT8 by NNCF, run on this machine's CPU.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

import importlib
from typing import Any

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("openvino", "nncf", "onnx")
#: What a model for this target is made from.
SOURCE = "onnx"

# The modules are named differently from their functions: a submodule, once imported, takes its name in the package.
_STEPS = {
    "convert": "deploytk.targets.openvino.conversion",
    "quantize_graph": "deploytk.targets.openvino.quantization",
    "with_accuracy_control": "deploytk.targets.openvino.accuracy",
    "sensitivities": "deploytk.targets.openvino.sensitivity",
    "predictor": "deploytk.targets.openvino.prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _STEPS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_STEPS[name]), name)
