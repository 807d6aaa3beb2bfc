"""The end of a classifier's training: model.pt from the best checkpoint, measured and described (torch)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from deploytk import worker
from deploytk.artifact import versions_of
from deploytk.backends.classifier import DISTRIBUTIONS, checkpoint, measuring, network, pictures
from deploytk.backends.classifier.checks import dataset
from deploytk.data.classified import Classified
from deploytk.files import write_json
from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.training import closing, reporting
from deploytk.training.loop import devices, pace, snapshots
from deploytk.training.shelf import Entry, Shelf
from deploytk.training.state import Folder


def finish_training(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """The summary of a training; the run folder then holds model.pt, the report and the curves.

    Raises:
        TrainingFailed: no epoch was healthy, or the best one's weights are not alive.
        RuleFailed: an activation is another than the profile asks for.
    """
    wanted, folder = Profile.model_validate(profile), Path(run)
    worker.emit(event="phase", phase="finish")
    shelf = Shelf(Folder(run=folder).checkpoints, wanted.keep)
    best = closing.require_best(shelf)
    data = dataset(wanted)
    model = network_of(wanted, data, shelf.path(best))
    activation = wanted.model.activation
    where = f"the checkpoint of epoch {best.epoch}"
    counted = network.require(model, activation.kind, activation.negative_slope, where)
    closing.refuse_dead(model.state_dict(), f"epoch {best.epoch}")
    write_model(wanted, data, model, folder / "model.pt")
    summary = _summary(wanted, folder, data, shelf, best, counted)
    write_json(folder / "training_summary.json", summary)
    reporting.write(folder, summary)
    return summary


def network_of(wanted: Profile, data: Classified, path: Path) -> nn.Module:
    """The network of a profile with the moving average that a checkpoint holds: float32, eval."""
    model = fresh_network(wanted, data)
    model.load_state_dict(snapshots.load(path)["ema"])
    return model.float().eval()


def fresh_network(wanted: Profile, data: Classified) -> nn.Module:
    """The network of a profile with random weights."""
    activation = wanted.model.activation
    return network.build(
        wanted.model.arch, len(data.classes), activation.kind, activation.negative_slope, imgsz=wanted.train.imgsz
    )


def write_model(wanted: Profile, data: Classified, model: nn.Module, path: Path) -> None:
    """Write a model.pt."""
    told = {
        "arch": wanted.model.arch,
        "names": list(data.classes),
        "class_index": data.index.sha256,
        "crops": data.crops.model_dump(include={"margin", "square"}) if data.crops else None,
        "imgsz": wanted.train.imgsz,
        "activation": wanted.model.activation.kind,
        "negative_slope": wanted.model.activation.negative_slope,
        "preparation": pictures.preparation(wanted.train.imgsz).model_dump(mode="json"),
        "profile": wanted.name,
        "data": data.fingerprint(),
        "seed": wanted.train.seed,
        "versions": versions_of("deploytk", *DISTRIBUTIONS),
    }
    checkpoint.write(told, model, path)


def _summary(
    wanted: Profile, folder: Path, data: Classified, shelf: Shelf, best: Entry, counted: dict[str, dict[str, int]]
) -> dict[str, Any]:
    model = checkpoint.rebuild(checkpoint.payload(folder / "model.pt"))
    device = devices.device_of(wanted.train.devices[0])
    metrics = measuring.measured(
        model.to(device), data.splits["val"], imgsz=wanted.train.imgsz, batch=wanted.train.batch, device=device
    ).metrics
    paced = pace.pace(shelf.entries)
    return {
        "name": wanted.name,
        "best_epoch": best.epoch,
        "epochs": [_row(entry) for entry in shelf.entries],
        "seconds": round(sum(float(e.facts["seconds"]) for e in shelf.entries), 1),
        "training": closing.settings(wanted, shelf),
        "pretrained": shelf.entries[-1].facts["pretrained"],
        "metrics": dict(metrics),
        "activations": counted,
        "model": {
            "arch": wanted.model.arch,
            "pretrained": str(wanted.model.pretrained) if wanted.model.pretrained else None,
            "activation": wanted.model.activation.model_dump(mode="json"),
            "nc": len(data.classes),
            "names": data.classes,
        },
        "data": {"fingerprint": data.fingerprint(), "images": data.counts()},
        "pace": asdict(paced) if paced else None,
        "versions": versions_of("deploytk", *DISTRIBUTIONS),
        "findings": [f.__dict__ for f in _findings(metrics["top1"], data, wanted, shelf)],
    }


def _row(entry: Entry) -> dict[str, Any]:
    return {"epoch": entry.epoch, **entry.losses, **entry.metrics, "lr": entry.facts["lr"]}


def _findings(top1: float, data: Classified, wanted: Profile, shelf: Shelf) -> list[Finding]:
    found = [*closing.findings(wanted, shelf), *pace.findings(pace.pace(shelf.entries), wanted.train)]
    chance = 1 / len(data.classes)
    if len(data.classes) > 1 and top1 <= chance:
        message = f"top1 is {top1:.3f}, no better than a guess among {len(data.classes)} classes ({chance:.3f})"
        fix = "train longer, or look at the labels and lr0"
        found.append(Finding(rule="TRN001", severity="warning", where="metrics", message=message, fix=fix))
    return found
