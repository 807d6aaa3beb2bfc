"""Arm Ethos-U NPUs: torch -> LiteRT -> INT8 -> Vela, and what Vela's placement is worth.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("litert-torch", "ai-edge-quantizer", "ai-edge-litert", "ethos-u-vela", "torch")
#: What a model for this target is made from.
SOURCE = "torch"

_STEPS = {
    "convert": "conversion",
    "quantize": "quantization",
    "quantize_graph": "quantization",
    "assess": "assessment",
    "predictor": "prediction",
}

__getattr__ = plugins.lazily(__name__, _STEPS)
