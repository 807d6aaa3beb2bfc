"""Ultralytics detectors (YOLOv8, YOLO11): training, checkpoints that open without unpickling, export, scoring.

Importing this package imports no library; torch and Ultralytics come with the first function that needs them.
Ultralytics is AGPL-3.0: none of its code is copied here, and who installs the extra [yolo] accepts that licence.
"""

from __future__ import annotations

import importlib
from typing import Any

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("ultralytics", "torch", "torchvision", "opencv-python")

# The modules are named differently from their functions: a submodule, once imported, takes its name in the package.
_FUNCTIONS = {
    "preflight": "checks",
    "data_fingerprint": "checks",
    "train": "training",
    "describe": "checkpoint",
    "adopt": "checkpoint",
    "onnx_from_checkpoint": "exporting",
    "torch_module": "inference",
    "torch_predictor": "inference",
    "decode": "inference",
    "samples": "inference",
    "score": "scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
