"""ONNX Runtime on this CPU: the file that every backend exports, as it is or in INT8.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("onnx", "onnxslim", "onnxruntime")
#: What a model for this target is made from.
SOURCE = "onnx"

_STEPS = {
    "predictor": "prediction",
    "quantize_graph": "quantization",
    "sensitivities": "sensitivity",
}

__getattr__ = plugins.lazily(__name__, _STEPS)
