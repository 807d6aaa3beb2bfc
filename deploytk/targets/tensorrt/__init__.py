"""TensorRT: an ONNX with its precision in it, built into an engine for the GPU of this machine.

Importing this package imports no library; each step's library comes with its first use. It builds on the target onnx:
what TensorRT reads is an ONNX, and its INT8 is measured and written by the same code.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the ONNX that an engine is built from.
DISTRIBUTIONS = ("onnx", "onnxruntime", "onnxslim")
#: What a model for this target is made from.
SOURCE = "onnx"

_STEPS = {
    "typed": "floats",
    "quantize_graph": "quantization",
    "sensitivities": "quantization",
    "build": "building",
    "readable": "prediction",
    "AS_WRITTEN": "prediction",
    "predictor": "prediction",
}

__getattr__ = plugins.lazily(__name__, _STEPS)
