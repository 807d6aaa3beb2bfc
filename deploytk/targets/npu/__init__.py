"""Arm Ethos-U NPUs: torch -> LiteRT -> INT8 -> Vela, and what Vela's placement is worth.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

import importlib
from typing import Any

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("litert-torch", "ai-edge-quantizer", "ai-edge-litert", "ethos-u-vela", "torch")
#: What a model for this target is made from.
SOURCE = "torch"

# The modules are named differently from their functions: a submodule, once imported, takes its name in the package.
_STEPS = {
    "convert": "deploytk.targets.npu.conversion",
    "quantize": "deploytk.targets.npu.quantization",
    "quantize_graph": "deploytk.targets.npu.quantization",
    "assess": "deploytk.targets.npu.assessment",
    "predictor": "deploytk.targets.npu.prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _STEPS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_STEPS[name]), name)
