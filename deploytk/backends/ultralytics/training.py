"""Training a detector through Ultralytics, one segment of a guarded training at a time (torch)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploytk.backends.ultralytics import results
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.library import LOGGER
from deploytk.backends.ultralytics.segment_trainer import SegmentTrainer
from deploytk.data.view import View
from deploytk.profile import Profile
from deploytk.training.loop import devices, optimizers
from deploytk.training.segments import Segment, as_dict
from deploytk.training.watch import Watch

#: Settings that the profile and Ultralytics name alike.
_COPIED = ("optimizer", "lrf", "momentum", "warmup_epochs", "mosaic", "fliplr", "workers", "seed")
#: The precisions of a segment in Ultralytics' words.
_AMP: dict[str, Any] = {"fp32": False, "fp16": True, "bf16": "bf16"}


def train_segment(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """How one segment of a training ended (`Outcome` as JSON); its checkpoints stand on the run's shelf.

    Raises:
        InputError: the precision is not to be had on this device.
        RuleFailed: a module has another activation than the profile asks for.
    """
    wanted, part, folder = Profile.model_validate(profile), Segment(**segment), Path(run).resolve()
    LOGGER.setLevel(logging.INFO)
    precision = devices.precision_of(part.precision, devices.device_of(wanted.train.device))
    view = view_of(profile, folder)
    watch = Watch(wanted, folder, part, precision=precision)
    results.cut(folder / "results.csv", part.first_epoch - 1)
    with working_in(folder):
        trainer = SegmentTrainer(wanted, {**overrides(wanted, folder, view, part), "amp": _AMP[precision]}, part, watch)
        return as_dict(watch.outcome_of(trainer.train, lambda: trainer.epoch + 1))


def overrides(wanted: Profile, folder: Path, view: View, segment: Segment) -> dict[str, Any]:
    """Every setting of Ultralytics for a segment, explicit, the precision apart."""
    train = wanted.train
    return {
        **{name: getattr(train, name) for name in _COPIED},
        "task": "detect",
        # Only a name: `Trainer.get_model` builds the network.
        "model": f"{wanted.model.arch}{wanted.model.scale}.yaml",
        "data": str(view.yaml),
        "epochs": segment.total_epochs,
        "imgsz": segment.imgsz,
        "batch": segment.batch,
        # Ultralytics gathers gradients up to 64 images, which leaves a small dataset with a step or two per epoch
        # (mAP50 0.03 instead of 0.14 after 8 epochs on the demo set); how many are gathered is the segment's.
        "nbs": segment.batch,
        "lr0": optimizers.learning_rate(train) * segment.lr_scale,
        "warmup_bias_lr": train.warmup_bias_lr * segment.lr_scale,
        "weight_decay": train.weight_decay * segment.weight_decay_scale,
        "close_mosaic": 0,  # closed by the SegmentTrainer
        "patience": 0,  # the Watch stops early
        "device": str(devices.device_of(train.device)),
        "project": str(folder.parent),
        "name": folder.name,
        "exist_ok": True,
        "pretrained": False,
        "deterministic": True,
        "plots": False,
        "val": True,
        "save": True,
        "verbose": True,
    }


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Whatever a library writes to the working folder within the block stays in `folder`."""
    before = Path.cwd()
    try:
        os.chdir(folder)
        yield
    finally:
        os.chdir(before)
