"""Image classifiers (any network of timm): guarded training on a folder per class, checkpoints without pickles.

Importing this package imports no library; torch and timm come with the first function that needs them.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("timm", "torch", "torchvision", "opencv-python")

#: Only trained so far: export, INT8 and bench of classifiers are to come.
EXPORTS = False

#: The metric that trainings are compared by.
PRIMARY = "top1"

#: The switches of a profile's training that a classifier has. Mosaics and warming biases are for detectors.
TECHNIQUES = frozenset(
    {
        "ema", "label_smoothing", "rdrop", "dropout", "layer_lr", "resize", "clip_norm", "precision", "fliplr",
        "balance", "class_index", "margin", "square",
    }
)  # fmt: skip

#: The names by which milestones and phase rules may call what a classifier is measured by.
METRICS = frozenset({"top1", "top5", "loss", "val_loss"})

_FUNCTIONS = {
    "preflight": "checks",
    "data_fingerprint": "checks",
    "train_segment": "training",
    "finish_training": "finishing",
    "describe": "checkpoint",
    "evaluator": "evaluating",
}

__getattr__ = plugins.lazily(__name__, _FUNCTIONS)
