"""Image classifiers (any network of timm): guarded training on a folder per class, checkpoints without pickles.

Importing this package imports no library; torch and timm come with the first function that needs them.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("timm", "torch", "torchvision", "opencv-python")

#: What its models find; how their images are prepared follows from it.
TASK = "classifier"

#: The metric that trainings are compared by.
PRIMARY = "top1"

#: The metric that decides whether what was made of a trained model may be deployed.
METRIC = "top1"

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
    "calibration_pool": "cut_outs",
    "onnx_from_checkpoint": "exporting",
    "torch_module": "inference",
    "torch_predictor": "inference",
    "decode": "inference",
    "preparation": "inference",
    "samples": "inference",
    "score": "scoring",
}

__getattr__ = plugins.lazily(__name__, _FUNCTIONS)
