"""OpenVINO: ONNX -> IR in float, with float16 weights, or INT8 by NNCF, run on this machine's CPU.

Importing this package imports no library; each step's library comes with its first use.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("openvino", "nncf", "onnx")
#: What a model for this target is made from.
SOURCE = "onnx"

_STEPS = {
    "convert": "conversion",
    "graft": "grafting",
    "quantize_graph": "quantization",
    "with_accuracy_control": "accuracy",
    "sensitivities": "sensitivity",
    "predictor": "prediction",
}

__getattr__ = plugins.lazily(__name__, _STEPS)
