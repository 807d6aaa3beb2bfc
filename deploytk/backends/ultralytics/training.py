"""Training a detector through Ultralytics, one segment of a guarded training at a time (torch)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from deploytk.backends.ultralytics import results
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.library import LOGGER
from deploytk.backends.ultralytics.segment_trainer import SegmentTrainer
from deploytk.data.view import View
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.training import deaths
from deploytk.training.segments import Outcome, Segment, as_dict
from deploytk.training.watch import SegmentEnded, Watch

#: Settings that the profile and Ultralytics name alike.
_COPIED = ("optimizer", "lrf", "momentum", "warmup_epochs", "mosaic", "workers", "seed")
#: Where the profile leaves lr0 out.
_LR0 = {"SGD": 0.01, "RMSProp": 0.001, "Adam": 0.001, "AdamW": 0.001, "NAdam": 0.001, "RAdam": 0.001}
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
    device = device_of(wanted)
    precision = precision_of(part.precision, device)
    view = view_of(profile, folder)
    watch = Watch(wanted, folder, part, precision=precision)
    results.cut(folder / "results.csv", part.first_epoch - 1)
    with working_in(folder):
        trainer = SegmentTrainer(wanted, {**overrides(wanted, folder, view, part), "amp": _AMP[precision]}, part, watch)
        return as_dict(_outcome(trainer, watch))


def _outcome(trainer: SegmentTrainer, watch: Watch) -> Outcome:
    try:
        trainer.train()
    except SegmentEnded as ended:
        return ended.outcome
    except (RuntimeError, MemoryError) as error:
        if not deaths.says_out_of_memory(f"{type(error).__name__}: {error}"):
            raise
        return watch.out_of_memory(trainer.epoch + 1, error)
    return watch.done()


def learning_rate(profile: Profile) -> float:
    """The initial learning rate: the profile's, or the usual one of its optimizer."""
    return profile.train.lr0 if profile.train.lr0 is not None else _LR0.get(profile.train.optimizer, 0.01)


def device_of(profile: Profile) -> str:
    """The device in Ultralytics' words."""
    if profile.train.device == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    return profile.train.device


def precision_of(asked: str, device: str) -> str:
    """fp32, bf16 or fp16: what `auto` is on a device.

    Raises:
        InputError: the device has no such precision.
    """
    gpu = device not in {"cpu", "mps"}
    half = gpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if asked == "auto":
        return "bf16" if half else "fp32"
    if (asked == "bf16" and not half) or (asked == "fp16" and not gpu):
        raise InputError(f"train.precision: {asked} is not to be had on device {device}; use auto or fp32")
    return asked


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
        "lr0": learning_rate(wanted) * segment.lr_scale,
        "warmup_bias_lr": train.warmup_bias_lr * segment.lr_scale,
        "weight_decay": train.weight_decay * segment.weight_decay_scale,
        "close_mosaic": 0,  # closed by the SegmentTrainer
        "patience": 0,  # the Watch stops early
        "device": device_of(wanted),
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
