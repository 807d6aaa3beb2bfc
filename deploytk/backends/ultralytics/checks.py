"""What is wrong before a training is started, and the dataset of a profile. Imports neither torch nor Ultralytics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.backends import checks
from deploytk.data import dataset, images, view
from deploytk.data.dataset import Dataset
from deploytk.errors import InputError
from deploytk.graphs import pickles
from deploytk.profile import Data, Profile
from deploytk.report import Finding

#: As in `network.ARCHS`, which cannot be imported here.
_ARCHS = ("yolov8", "yolo11")
_LIBRARIES = ("torch", "torchvision", "ultralytics", "cv2")


def preflight(profile: Profile) -> list[Finding]:
    """What is wrong with a profile, its data and this machine; every image is decoded once. Nothing is written."""
    found = [
        *checks.libraries(_LIBRARIES, "yolo"),
        *_model_findings(profile),
        *checks.learning_rate(profile),
        *checks.device(profile),
    ]
    try:
        data = detections(profile.data)
        images.check(s.image for samples in data.splits.values() for s in samples)
    except InputError as error:
        return [*found, checks.error("PRE004", "data", error.message)]
    return [*found, *data.findings, *checks.batch(profile, len(data.splits["train"]))]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the profile's dataset: classes, images, boxes."""
    return detections(profile.data).fingerprint()


def detections(data: Data) -> Dataset:
    """The profile's dataset as it is learned: with all its classes, or all objects as one.

    Raises:
        InputError: the profile names none, or it is wrong.
    """
    found = dataset.read(data_path(data.path))
    return found if data.one_class is None else found.as_one(data.one_class)


def data_path(path: str | Path | None) -> Path:
    """Where the profile's dataset is.

    Raises:
        InputError: the profile names none.
    """
    return checks.data_path(path, "DATA.yaml or a Pascal-VOC folder")


def view_of(profile: dict[str, Any], run: str | Path) -> view.View:
    """The copy of the profile's dataset in the run folder, made where it is not there yet."""
    return view.materialise(detections(Data.model_validate(profile["data"])), Path(run) / "data")


def _model_findings(profile: Profile) -> list[Finding]:
    model, train = profile.model, profile.train
    found = checks.unknown_arch(model.arch, _ARCHS, f"Known: {', '.join(_ARCHS)}")
    if train.optimizer == "auto" and train.lr0 is not None:
        what = "optimizer: auto ignores lr0"
        found.append(checks.error("PRE003", "train.lr0", what, "name an optimizer or remove lr0"))
    if model.pretrained is not None:
        try:
            _usable_weights(model.pretrained)
        except InputError as error:
            found.append(checks.error("PRE005", "model.pretrained", error.message))
    return found


def _usable_weights(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    kind = pickles.checkpoint_kind(path)
    if kind == "deploytk-classifier":
        raise InputError(f"{path}: a classifier's checkpoint, no detector's")
    if kind == "ultralytics":
        raise InputError(
            f"{path}: a pickled Ultralytics model; unpickling runs code from the file. If you trust it, convert it "
            "once: python -m deploytk.backends.ultralytics SOURCE.pt MODEL.pt --trust"
        )
    pickles.require_loadable(path, trust=False)
