"""ONNX Runtime on this CPU: the file that every backend exports, as it is or in INT8.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

import importlib
from typing import Any

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("onnx", "onnxslim", "onnxruntime")
#: What a model for this target is made from.
SOURCE = "onnx"

# The modules are named differently from their functions: a submodule, once imported, takes its name in the package.
_STEPS = {
    "predictor": "deploytk.targets.onnx.prediction",
    "quantize_graph": "deploytk.targets.onnx.quantization",
    "sensitivities": "deploytk.targets.onnx.sensitivity",
}


def __getattr__(name: str) -> Any:
    if name not in _STEPS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_STEPS[name]), name)
