"""A backend for tests: a linear classifier of drawn points, in numpy, that trains an epoch in a millisecond."""

from __future__ import annotations

from deploytk import plugins

DISTRIBUTIONS = ("numpy",)
TECHNIQUES = ("resize", "clip_norm")
PRIMARY = "accuracy"

_FUNCTIONS = {
    "preflight": "checks",
    "data_fingerprint": "checks",
    "train_segment": "training",
    "finish_training": "finishing",
    "checkpoint_tensors": "network",
    "evaluator": "evaluating",
    "describe": "network",
}

__getattr__ = plugins.lazily(__name__, _FUNCTIONS)
