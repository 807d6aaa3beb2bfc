"""The end of a training: model.pt from the best checkpoint, measured, audited and described (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk import worker
from deploytk.artifact import versions_of
from deploytk.backends.ultralytics import (
    DISTRIBUTIONS,
    activations,
    checkpoint,
    inference,
    network,
    results,
    scoring,
)
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.library import __version__
from deploytk.backends.ultralytics.trainer import note_activation
from deploytk.data.view import View
from deploytk.files import write_json, written_whole
from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.training import closing, reporting
from deploytk.training.loop import snapshots
from deploytk.training.shelf import Entry, Shelf
from deploytk.training.state import Folder


def finish_training(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """The summary of a training; the run folder then holds model.pt, weights/best.pt, the reports and the curves.

    Raises:
        TrainingFailed: no epoch was healthy, or the best one's weights are not alive.
        RuleFailed: a module has another activation than the profile asks for.
    """
    wanted, folder = Profile.model_validate(profile), Path(run).resolve()
    worker.emit(event="phase", phase="finish")
    shelf = Shelf(Folder(run=folder).checkpoints, wanted.keep)
    best = closing.require_best(shelf)
    view = view_of(profile, folder)
    model = network_of(wanted, view, shelf.path(best))
    kinds, slope = wanted.model.activation.expected(), wanted.model.activation.negative_slope
    backbone = network.backbone_layers(wanted.model.arch, wanted.model.scale)
    counted = activations.require(model, backbone, kinds, slope, f"the checkpoint of epoch {best.epoch}")
    closing.refuse_dead(model.state_dict(), f"epoch {best.epoch}")
    write_model(wanted, view, model, folder / "model.pt")
    _write_for_ultralytics(wanted, folder, view, model)
    summary = _summary(wanted, folder, view, shelf, best, counted)
    write_json(folder / "training_summary.json", summary)
    reporting.write(folder, summary)
    return summary


def network_of(wanted: Profile, view: View, path: Path) -> nn.Module:
    """The network of a profile with the moving average that a checkpoint holds: float32, eval."""
    model = fresh_network(wanted, view)
    model.load_state_dict(snapshots.load(path)["ema"])
    return model.float().eval()


def fresh_network(wanted: Profile, view: View) -> nn.Module:
    """The network of a profile for the classes of its dataset, with whatever weights."""
    activation = wanted.model.activation
    classes = view.data.classes
    model = network.build(
        wanted.model.arch, wanted.model.scale, len(classes), activation.expected(), activation.negative_slope
    )
    model.names = dict(enumerate(classes))
    return model


def write_model(wanted: Profile, view: View, model: nn.Module, path: Path) -> None:
    """Write the network as a model.pt: tensors and plain values only, proved to give the same when it is reopened."""
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
    checkpoint.write(told, path, like=model)


def _write_for_ultralytics(wanted: Profile, folder: Path, view: View, model: nn.Module) -> None:
    """weights/best.pt: the same network as the pickle that Ultralytics' own tools open."""
    note_activation(model, wanted.model.activation.expected(), wanted.model.activation.negative_slope)
    told = {
        "epoch": -1,
        "model": model,
        "train_args": {"task": "detect", "data": str(view.yaml), "imgsz": wanted.train.imgsz},
        "version": __version__,
    }
    with written_whole(folder / "weights" / "best.pt") as temporary:
        torch.save(told, temporary)


def _summary(
    wanted: Profile, folder: Path, view: View, shelf: Shelf, best: Entry, counted: dict[str, dict[str, int]]
) -> dict[str, Any]:
    rows = results.table(results.read(folder / "results.csv"))
    metrics = _measured(wanted, folder)
    return {
        "name": wanted.name,
        "metrics": metrics,
        "best_epoch": best.epoch,
        "epochs": rows,
        "seconds": round(results.seconds(folder / "results.csv"), 1),
        "activations": counted,
        "model": {**wanted.model.model_dump(mode="json"), "nc": len(view.data.classes), "names": view.data.classes},
        "training": closing.settings(wanted, shelf),
        "pretrained": shelf.entries[-1].facts["pretrained"],
        "data": {"fingerprint": view.fingerprint, "images": view.data.counts()},
        "versions": versions_of("deploytk", *DISTRIBUTIONS),
        "findings": [f.__dict__ for f in _findings(metrics, rows, wanted, shelf)],
    }


def _measured(wanted: Profile, folder: Path) -> dict[str, float]:
    """The task metrics of model.pt, by the code that measures every artifact after it."""
    model = folder / "model.pt"
    raw = inference.torch_predictor(model)
    told = wanted.model_dump(mode="json", by_alias=True)
    return scoring.score(lambda images: inference.decode(raw(images), model), told, model, folder)


def _findings(
    metrics: dict[str, float], rows: list[dict[str, float | None]], wanted: Profile, shelf: Shelf
) -> list[Finding]:
    found = closing.findings(wanted, shelf)
    if metrics["mAP50"] == 0.0:
        message = f"mAP50 is exactly 0 after {len(rows)} epochs: the model has not learned to find anything"
        fix = "train longer, or look at the labels and lr0"
        found.append(Finding(rule="TRN001", severity="warning", where="metrics", message=message, fix=fix))
    return found
