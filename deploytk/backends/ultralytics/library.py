"""Ultralytics, imported in this one file: offline, and with its settings in a temporary folder."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import tempfile

from PIL import Image

# Ultralytics reads these while it is imported: no look-ups, no downloads, no pip, nothing in the home folder.
os.environ["YOLO_OFFLINE"] = "1"
os.environ["YOLO_AUTOINSTALL"] = "false"
_SETTINGS = tempfile.mkdtemp(prefix="deploytk-ultralytics-")
os.environ["YOLO_CONFIG_DIR"] = _SETTINGS
atexit.register(shutil.rmtree, _SETTINGS, ignore_errors=True)

_image_open = Image.open

# Its logger keeps the stream it finds here; our stdout belongs to results.
with contextlib.redirect_stdout(sys.stderr):
    from ultralytics import __version__
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
    from ultralytics.nn.modules import Conv, ConvTranspose, Detect, RepConv
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import LOGGER, ROOT, SETTINGS
    from ultralytics.utils.metrics import DetMetrics, box_iou
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.torch_utils import unwrap_model

# It replaces this for the whole process by one that installs packages when it meets an unknown format.
Image.open = _image_open
LOGGER.setLevel(logging.WARNING)
# Each of these would report somewhere else, some over the network.
SETTINGS.update(dict.fromkeys(("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "sync"), False))

__all__ = [
    "LOGGER",
    "ROOT",
    "Conv",
    "ConvTranspose",
    "DetMetrics",
    "Detect",
    "DetectionModel",
    "DetectionTrainer",
    "DetectionValidator",
    "RepConv",
    "__version__",
    "box_iou",
    "build_yolo_dataset",
    "get_cfg",
    "non_max_suppression",
    "unwrap_model",
]
