"""What is wrong before a training is started, and the dataset of a profile. Imports neither torch nor Ultralytics."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.data import dataset, images, view
from deploytk.errors import InputError
from deploytk.graphs import pickles
from deploytk.profile import Profile
from deploytk.report import Finding

#: As in `network.ARCHS`, which cannot be imported here.
_ARCHS = ("yolov8", "yolo11")
_LIBRARIES = ("torch", "torchvision", "ultralytics", "cv2")


def preflight(profile: Profile) -> list[Finding]:
    """What is wrong with a profile, its data and this machine; every image is decoded once. Nothing is written."""
    found = [*_library_findings(), *_model_findings(profile), *_device_findings(profile)]
    try:
        data = dataset.read(data_path(profile.data.path))
        images.check(s.image for samples in data.splits.values() for s in samples)
    except InputError as error:
        return [*found, _error("PRE004", "data", error.message)]
    return [*found, *data.findings, *_batch_findings(profile, data)]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the profile's dataset: classes, images, boxes."""
    return dataset.read(data_path(profile.data.path)).fingerprint()


def data_path(path: str | Path | None) -> Path:
    """Where the profile's dataset is.

    Raises:
        InputError: the profile names none.
    """
    if path is None:
        raise InputError("data.path: no dataset; give --data DATA.yaml or a Pascal-VOC folder")
    return Path(path)


def view_of(profile: dict[str, Any], run: str | Path) -> view.View:
    """The copy of the profile's dataset in the run folder, made where it is not there yet."""
    return view.of(data_path(profile["data"]["path"]), Path(run) / "data")


def _error(rule: str, where: str, message: str, fix: str = "") -> Finding:
    return Finding(rule=rule, severity="error", where=where, message=message, fix=fix)


def _library_findings() -> list[Finding]:
    gone = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    # They come with one extra: one line says all.
    return [
        _error("PRE001", "environment", plugins.missing(ModuleNotFoundError(f"no {name}", name=name)).message)
        for name in gone[:1]
    ]


def _model_findings(profile: Profile) -> list[Finding]:
    model, train = profile.model, profile.train
    found = []
    if model.arch not in _ARCHS:
        hint = plugins.suggestion(model.arch, _ARCHS)
        found.append(_error("PRE002", "model.arch", f"unknown {model.arch!r}{hint} Known: {', '.join(_ARCHS)}"))
    if train.optimizer == "auto" and train.lr0 is not None:
        found.append(_error("PRE003", "train.lr0", "optimizer: auto ignores lr0", "name an optimizer or remove lr0"))
    if train.lr0 is not None and train.lr0 > 1:
        found.append(
            _error("PRE003", "train.lr0", f"{train.lr0:g} is above 1", "usual are 0.01 (SGD) or 0.001 (AdamW)")
        )
    if model.pretrained is not None:
        try:
            _usable_weights(model.pretrained)
        except InputError as error:
            found.append(_error("PRE005", "model.pretrained", error.message))
    return found


def _usable_weights(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    kind = pickles.checkpoint_kind(path)
    if kind == "ultralytics":
        raise InputError(
            f"{path}: a pickled Ultralytics model; unpickling runs code from the file. If you trust it, convert it "
            "once: python -m deploytk.backends.ultralytics SOURCE.pt MODEL.pt --trust"
        )
    pickles.require_loadable(path, trust=False)


def _device_findings(profile: Profile) -> list[Finding]:
    device = profile.train.device
    wanted = device.removeprefix("cuda:")
    if device in {"auto", "cpu"} or (device == "mps" and sys.platform == "darwin"):
        return []
    if not wanted.isdigit():
        # Several GPUs ("0,1") make Ultralytics start processes that know nothing of our trainer.
        return [_error("PRE006", "train.device", f"unknown device {device!r}", 'use "auto", "cpu" or one GPU: "0"')]
    if sys.platform == "linux" and not Path(f"/dev/nvidia{wanted}").exists():
        return [_error("PRE006", "train.device", f"there is no GPU {wanted} here", "use device: cpu or auto")]
    return []


def _batch_findings(profile: Profile, data: dataset.Dataset) -> list[Finding]:
    count, batch = len(data.splits["train"]), profile.train.batch
    if count >= batch:
        return []
    message = f"batch {batch} is larger than the {count} training images: each epoch is one step"
    return [
        Finding(
            rule="PRE007", severity="warning", where="train.batch", message=message, fix=f"use {max(1, count // 2)}"
        )
    ]
