"""Training a classifier, one segment of a guarded training at a time (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from deploytk.backends.classifier import checkpoint, measuring, network, pictures
from deploytk.backends.classifier.checks import dataset
from deploytk.backends.classifier.pictures import Batch
from deploytk.data import class_index
from deploytk.data.class_index import ClassIndex
from deploytk.data.classified import Classified
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.training.following import Follower
from deploytk.training.loop import balance, devices, group
from deploytk.training.loop.group import Group
from deploytk.training.loop.loop import Loop
from deploytk.training.loop.task import Measured, Task
from deploytk.training.segments import Segment, as_dict
from deploytk.training.state import Folder
from deploytk.training.watch import Watch


def train_segment(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """How one segment of a training ended (`Outcome` as JSON); its checkpoints stand on the run's shelf.

    Raises:
        InputError: the data, the network or the precision is not to be had.
        RuleFailed: an activation is another than the profile asks for.
    """
    processes = len(Profile.model_validate(profile).train.devices)
    told: dict[str, Any] = {"profile": profile, "run": run, "segment": segment}
    if processes == 1:
        return train_here(**told)
    from deploytk.training.loop import several

    return several.launched(f"{__name__}:train_here", told, processes=processes, events=Folder(run=Path(run)).events)


def train_here(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """The same in this process: the only one, or one of those that train together."""
    wanted, part = Profile.model_validate(profile), Segment(**segment)
    ours, device = group.joined(wanted.train)
    watch = (Watch if ours.first else Follower)(
        wanted, Path(run), part, precision=devices.precision_of(part.precision, device)
    )
    torch.manual_seed(wanted.train.seed)
    data = dataset(wanted)
    if ours.first:
        _keep(data.index, Path(run) / "class_index.json")
    task = _task(wanted, data, part, watch, device, ours)
    return as_dict(Loop(wanted, part, watch, task, device, ours).run())


def _keep(index: ClassIndex, path: Path) -> None:
    """Write the class index into the run, or have it be the one that stands there.

    Raises:
        InputError: the training was begun with other classes.
    """
    if not path.is_file():
        class_index.write(path, index)
    elif class_index.read(path) != index:
        raise InputError(f"{path}: the training was begun with other classes; put them back, or train with --restart")


def _task(wanted: Profile, data: Classified, part: Segment, watch: Watch, device: torch.device, ours: Group) -> Task:
    train, activation = wanted.train, wanted.model.activation
    model = network.build(
        wanted.model.arch,
        len(data.classes),
        activation.kind,
        activation.negative_slope,
        dropout=train.dropout,
        imgsz=train.imgsz,
    )
    taken = checkpoint.take_weights(model, wanted.model.pretrained) if wanted.model.pretrained else {}
    network.require(model, activation.kind, activation.negative_slope, "the network to train")

    def validate(average: nn.Module) -> Measured:
        return measuring.measured(
            average,
            data.splits["val"],
            imgsz=part.imgsz,
            batch=part.batch,
            device=device,
            workers=train.workers,
            alive=watch.alive,
            group=ours,
        )

    weights = balance.weights(data.per_class("train")) if train.balance != "none" else None
    by_class = torch.tensor(weights, dtype=torch.float32, device=device) if train.balance == "weights" else None
    return Task(
        model=model.to(device),
        sections=network.sections(model),
        images=len(data.splits["train"]),
        dataset=pictures.Varied(data.splits["train"], part.imgsz, train),
        collate=pictures.collate,
        logits=lambda network, batch: network(pictures.normalised(batch[0].to(device, non_blocking=True))),
        loss=lambda logits, batch: _loss(logits, batch, train.label_smoothing, by_class),
        validate=validate,
        weights=weights[data.splits["train"].labels] if weights is not None and by_class is None else None,
        notes={"pretrained": taken},
    )


def _loss(logits: torch.Tensor, batch: Batch, smoothing: float, by_class: torch.Tensor | None) -> torch.Tensor:
    """Cross entropy with softened labels (Szegedy et al. 2016, arXiv 1512.00567), times the weight of each class.

    It is the mean over images, not over weights as torch's own: batches that are accumulated, or lie on several
    devices, then add up to what they are in one.
    """
    labels = batch[1].to(logits.device)
    each = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="none")
    return (each if by_class is None else each * by_class[labels]).mean()
