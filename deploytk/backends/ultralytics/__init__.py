"""Ultralytics detectors (YOLOv8, YOLO11): training, checkpoints that open without unpickling, export, scoring.

Importing this package imports no library; torch and Ultralytics come with the first function that needs them.
Ultralytics is AGPL-3.0: none of its code is copied here, and who installs the extra [yolo] accepts that licence.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("ultralytics", "torch", "torchvision", "opencv-python")

#: What its models find; how their images are prepared follows from it.
TASK = "detector"

#: The metric that trainings are compared by.
PRIMARY = "mAP50_95"

#: The metric that decides whether what was made of a trained model may be deployed.
METRIC = "mAP50"

#: The switches of a profile's training that a detector has. R-Drop and dropout are for classifiers.
TECHNIQUES = frozenset(
    {
        "ema", "label_smoothing", "layer_lr", "resize", "clip_norm", "precision", "mosaic", "close_mosaic", "fliplr",
        "warmup_bias_lr",
    }
)  # fmt: skip

#: The names by which milestones and phase rules may call what a detector is measured by.
METRICS = frozenset(
    {
        "mAP50", "mAP50_95", "precision", "recall", "box_loss", "cls_loss", "dfl_loss",
        "val_box_loss", "val_cls_loss", "val_dfl_loss",
    }
)  # fmt: skip

#: Whether `finetune_quantized` is there: then the INT8 ladder has a rung of quantization-aware training.
FINETUNES_QUANTIZED = True

_FUNCTIONS = {
    "preflight": "checks",
    "data_fingerprint": "checks",
    "checkpoint_bytes": "sizes",
    "step_mib": "sizes",
    "train_segment": "training",
    "finish_training": "finishing",
    "finetune_quantized": "finetuning",
    "evaluator": "evaluating",
    "describe": "checkpoint",
    "adopt": "checkpoint",
    "onnx_from_checkpoint": "exporting",
    "torch_module": "inference",
    "torch_predictor": "inference",
    "decode": "inference",
    "preparation": "inference",
    "samples": "inference",
    "score": "scoring",
}

__getattr__ = plugins.lazily(__name__, _FUNCTIONS)
