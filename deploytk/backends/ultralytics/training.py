"""Training a detector through Ultralytics, its activations asserted from the first epoch to the file on disk."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk import worker
from deploytk.artifact import versions_of
from deploytk.backends.ultralytics import DISTRIBUTIONS, activations, checkpoint, reporting, results
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.foreign import unpickled
from deploytk.backends.ultralytics.library import LOGGER
from deploytk.backends.ultralytics.trainer import Trainer
from deploytk.data.view import View
from deploytk.errors import InputError, TrainingFailed
from deploytk.files import write_json
from deploytk.profile import Profile
from deploytk.report import Finding

#: Settings that the profile and Ultralytics name alike.
_COPIED = (
    "epochs", "imgsz", "batch", "optimizer", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_bias_lr",
    "patience", "mosaic", "close_mosaic", "workers", "seed",
)  # fmt: skip
#: Where the profile leaves lr0 out.
_LR0 = {"SGD": 0.01, "RMSProp": 0.001, "Adam": 0.001, "AdamW": 0.001, "NAdam": 0.001, "RAdam": 0.001}


def train(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """The summary of a finished training; the run folder then holds model.pt, weights/, the reports and the curves.

    Raises:
        TrainingFailed: the weights are not finite, or training stopped without any.
        RuleFailed: a module has another activation than the profile asks for.
    """
    wanted, folder = Profile.model_validate(profile), Path(run).resolve()
    _refuse_own_weights(wanted, folder)
    began = time.monotonic()
    LOGGER.setLevel(logging.INFO)
    worker.emit(done=0, total=wanted.train.epochs, text="copying the dataset")
    view = view_of(profile, folder)
    trainer = Trainer(wanted, overrides(wanted, folder, view))
    run_in(folder, trainer)
    model = best_of(trainer)
    counted = activations.require(model, trainer.backbone, trainer.kinds, trainer.slope, "best.pt")
    refuse_dead(model, folder)
    _write_model(wanted, folder, view, model)
    summary = _summary(wanted, folder, view, trainer, counted, time.monotonic() - began)
    write_json(folder / "training_summary.json", summary)
    reporting.write(folder, summary)
    return summary


def _refuse_own_weights(wanted: Profile, folder: Path) -> None:
    """Nothing, unless the pretrained weights lie where this training removes older ones."""
    pretrained = wanted.model.pretrained
    if pretrained is not None and pretrained.resolve().is_relative_to(folder):
        raise InputError(f"model.pretrained: {pretrained} lies in {folder}, which is written anew; give another --out")


def learning_rate(profile: Profile) -> float:
    """The initial learning rate: the profile's, or the usual one of its optimizer."""
    return profile.train.lr0 if profile.train.lr0 is not None else _LR0.get(profile.train.optimizer, 0.01)


def overrides(wanted: Profile, folder: Path, view: View) -> dict[str, Any]:
    """Every setting of the training, explicit."""
    train, device = wanted.train, _device(wanted.train.device)
    return {
        **{name: getattr(train, name) for name in _COPIED},
        "task": "detect",
        # Only a name: `Trainer.get_model` builds the network.
        "model": f"{wanted.model.arch}{wanted.model.scale}.yaml",
        "data": str(view.yaml),
        # Ultralytics gathers gradients up to 64 images, which leaves a small dataset with a step or two per epoch:
        # mAP50 0.03 instead of 0.14 after 8 epochs on the demo set.
        "nbs": train.effective_batch or train.batch,
        "lr0": learning_rate(wanted),
        "device": device,
        # "bf16" and off need no check against a model that would have to be downloaded.
        "amp": "bf16" if device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else False,
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


def _device(named: str) -> str:
    if named == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    return named


def run_in(folder: Path, trainer: Trainer) -> None:
    """Train into `folder`, and remove first what an earlier training left there.

    Raises:
        TrainingFailed: it diverged. Ultralytics raises about NaN, and that is no crash.
    """
    for stale in ("model.pt", "results.csv"):
        (folder / stale).unlink(missing_ok=True)
    shutil.rmtree(folder / "weights", ignore_errors=True)
    (folder / "weights").mkdir(parents=True)
    before = Path.cwd()
    try:
        os.chdir(folder)  # whatever is written to the working folder stays in the run
        trainer.train()
    except RuntimeError as error:
        if "nan" in str(error).lower():
            raise TrainingFailed(f"training diverged: {error}; {_ADVICE}") from error
        raise
    finally:
        os.chdir(before)


_ADVICE = "lower lr0 ten times, or raise warmup_epochs"


def best_of(trainer: Trainer) -> nn.Module:
    """The network of the best epoch.

    Raises:
        TrainingFailed: no epoch gave any.
    """
    if not trainer.best.is_file():
        raise TrainingFailed(f"no epoch gave weights worth keeping (no best.pt); {_ADVICE}")
    # Written by this very process a moment ago.
    return unpickled(trainer.best)


def refuse_dead(model: nn.Module, folder: Path) -> None:
    """Nothing, where the weights are alive. Ultralytics saves NaN as zeros: an all-zero weight or variance was NaN.

    Raises:
        TrainingFailed: they are not.
    """
    dead = [
        name
        for name, tensor in model.state_dict().items()
        if (tensor.is_floating_point() and not torch.isfinite(tensor).all())
        or (name.endswith(("conv.weight", "running_var")) and not tensor.any())
    ]
    if dead:
        raise TrainingFailed(
            f"training diverged: {len(dead)} of {len(model.state_dict())} tensors of best.pt are NaN or all zero "
            f"(first: {dead[0]}); {_ADVICE}; see {folder / 'results.csv'}",
            reasons=tuple(dead),
        )


def _write_model(wanted: Profile, folder: Path, view: View, model: nn.Module) -> None:
    told = checkpoint.pack(
        model,
        arch=wanted.model.arch,
        scale=wanted.model.scale,
        imgsz=wanted.train.imgsz,
        names=list(view.data.classes),
        profile=wanted.name,
        data=view.fingerprint,
        seed=wanted.train.seed,
    )
    checkpoint.write(told, folder / "model.pt", like=model)


def _summary(
    wanted: Profile, folder: Path, view: View, trainer: Trainer, counted: dict[str, dict[str, int]], seconds: float
) -> dict[str, Any]:
    rows = results.table(results.read(folder / "results.csv"))
    best = results.best(rows)
    metrics = {name: float(trainer.metrics.get(column) or 0.0) for column, name in results.METRICS.items()}
    train = wanted.train
    return {
        "name": wanted.name,
        "metrics": metrics,
        "best_epoch": int(best["epoch"] or 0) if best else None,
        "epochs": rows,
        "seconds": round(seconds, 1),
        "activations": counted,
        "model": {**wanted.model.model_dump(mode="json"), "nc": len(view.data.classes), "names": view.data.classes},
        "training": {
            "epochs": train.epochs,
            "imgsz": train.imgsz,
            "batch": int(trainer.batch_size),
            "effective_batch": int(trainer.batch_size * trainer.accumulate),
            "optimizer": str(trainer.args.optimizer),
            "lr0": float(trainer.args.lr0),
            "seed": train.seed,
            "device": str(trainer.device),
            "amp": str(trainer.args.amp),
            "stopped_early": len(rows) < train.epochs,
        },
        "pretrained": trainer.grafted,
        "data": {"fingerprint": view.fingerprint, "images": view.data.counts()},
        "versions": versions_of("deploytk", *DISTRIBUTIONS),
        "findings": [f.__dict__ for f in _findings(metrics, rows, wanted, trainer)],
    }


def _findings(
    metrics: dict[str, float], rows: list[dict[str, float | None]], wanted: Profile, trainer: Trainer
) -> list[Finding]:
    found = []
    if metrics["mAP50"] == 0.0:
        message = f"mAP50 is exactly 0 after {len(rows)} epochs: the model has not learned to find anything"
        found.append(("TRN001", "metrics", message, "train longer, or look at the labels and lr0"))
    if any(value is None for row in rows for name, value in row.items() if name.startswith("train_")):
        found.append(("TRN002", "results.csv", "a training loss was NaN or infinite in some epoch", _ADVICE))
    if trainer.batch_size != wanted.train.batch:
        message = f"out of memory: the batch was reduced from {wanted.train.batch} to {trainer.batch_size}"
        found.append(("TRN003", "train.batch", message, "set it in the profile, so that runs can be compared"))
    return [Finding(rule=r, severity="warning", where=w, message=m, fix=f) for r, w, m, f in found]
