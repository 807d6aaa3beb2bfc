"""What is wrong before a classifier's training is started. Imports neither torch nor timm."""

from __future__ import annotations

import importlib.util
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from deploytk.backends import checks
from deploytk.backends.classifier import fixed_sizes
from deploytk.data import class_index, classified, images
from deploytk.data.classified import Classified
from deploytk.data.crops import Crops
from deploytk.errors import InputError, MissingDependency
from deploytk.graphs import pickles
from deploytk.profile import SECTIONS, Profile
from deploytk.report import Finding

_LIBRARIES = ("torch", "torchvision", "timm", "cv2")
_REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")
_NAMED = 5
#: Images of the most frequent class against those of the rarest.
_UNEVEN = 10
#: Of more images so many are decoded, drawn evenly: some seconds.
_DECODED = 5000


def preflight(profile: Profile) -> list[Finding]:
    """What is wrong with a profile, its data and this machine; up to `_DECODED` images are. Nothing is written."""
    missing = checks.libraries(_LIBRARIES, "classifier")
    found = [*missing, *_model(profile, known=not missing), *checks.learning_rate(profile)]
    try:
        data = dataset(profile)
        found += _images(data)
    except (InputError, MissingDependency) as error:
        rule = "PRE001" if isinstance(error, MissingDependency) else "PRE004"
        return [*found, checks.error(rule, "data", error.message), *checks.devices(profile, None)]
    found += checks.devices(profile, len(data.splits["train"]))
    return [*found, *_classes(data), *_imbalance(profile, data), *checks.batch(profile, len(data.splits["train"]))]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the profile's dataset: classes, images, labels, boxes."""
    return dataset(profile).fingerprint()


def dataset(profile: Profile) -> Classified:
    """The profile's pictures, in the order of its class index.

    Raises:
        InputError: the profile names none, or something is wrong with them.
        MissingDependency: a manifest, and polars is not installed.
    """
    data = profile.data
    index = class_index.read(data.class_index) if data.class_index else None
    crops = Crops(margin=data.margin, square=data.square)
    return classified.read(data_path(profile), index=index, crops=crops)


def data_path(profile: Profile) -> Path:
    """Where the profile's dataset is.

    Raises:
        InputError: the profile names none.
    """
    kinds = "FOLDER with train/CLASS/... and val/CLASS/... in it, a manifest (.csv), or a detector's DATA.yaml"
    return checks.data_path(profile.data.path, kinds)


@lru_cache(maxsize=1)
def networks() -> tuple[str, ...]:
    """The names of timm's networks, read from its source: importing timm takes seconds, this a tenth of one."""
    found = importlib.util.find_spec("timm")
    places = found.submodule_search_locations if found else None
    files = [file for place in places or () for file in (Path(place) / "models").glob("*.py")]
    return tuple(sorted(n for file in files for n in _REGISTERED.findall(file.read_text(encoding="utf-8"))))


def _model(profile: Profile, *, known: bool) -> list[Finding]:
    model, found = profile.model, []
    if known:
        more = "timm's names: python -c 'import timm; print(timm.list_models())'"
        found += checks.unknown_arch(model.arch, networks(), more)
        if profile.train.resize is not None and fixed_sizes.holds_its_size(model.arch):
            what = f"{model.arch} runs at one image size alone, the one that it is built for"
            found.append(checks.error("PRE003", "train.resize", what, "remove it, or take a convolutional network"))
    if model.scale != "n":
        fix = "remove it: the name of the network says its size"
        found.append(checks.error("PRE003", "model.scale", "classifiers have no scale", fix))
    if set(model.activation.sections) != set(SECTIONS):
        fix = "remove sections and rest: kind is the activation of the whole network"
        found.append(checks.error("PRE003", "model.activation.sections", "a classifier has no sections", fix))
    if profile.train.optimizer == "auto":
        found.append(checks.error("PRE003", "train.optimizer", "auto is Ultralytics' own choice", "name one: AdamW"))
    if model.pretrained is not None:
        found += _pretrained(model.pretrained)
    return found


def _pretrained(path: Path) -> list[Finding]:
    if not path.is_file():
        return [checks.error("PRE005", "model.pretrained", f"{path}: no such file")]
    if path.suffix == ".safetensors":
        return []
    try:
        kind = pickles.checkpoint_kind(path)
    except InputError as error:
        return [checks.error("PRE005", "model.pretrained", error.message)]
    if kind in {"deploytk-classifier", "state_dict"}:
        return []
    what = f"{path}: {'a detector' if kind == 'deploytk-detector' else 'unpickling it could run code'}"
    return [checks.error("PRE005", "model.pretrained", what, "give a .safetensors file, or a run's model.pt")]


def _images(data: Classified) -> list[Finding]:
    """Nothing where all images can be read; where there are many, a word on those that were not looked at.

    Raises:
        InputError: the first image that cannot be.
    """
    every = data.images()
    if len(every) <= _DECODED:
        images.check(map(Path, every))
        return []
    images.check(Path(every[len(every) * i // _DECODED]) for i in range(_DECODED))
    gone = next((path for path in every if not os.path.isfile(path)), None)  # noqa: PTH113 - half a million of them
    if gone is not None:
        raise InputError(f"{gone}: no such image")
    message = f"{_DECODED:,} of {len(every):,} images were decoded, the others are there"
    files = " ".join(map(str, data.files))
    fix = (
        f"deploytk data check {files} --deep looks at all of them" if files else "one that is broken ends the training"
    )
    return [Finding(rule="DATA007", severity="info", where="data", message=message, fix=fix)]


def _imbalance(profile: Profile, data: Classified) -> list[Finding]:
    """A warning where a class has far more images than another, and nothing is done about it."""
    counts = data.per_class("train")
    most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
    if profile.train.balance != "none" or counts[most] < _UNEVEN * counts[least]:
        return []
    message = f"{counts[most]:,} images of {data.classes[most]!r}, {counts[least]:,} of {data.classes[least]!r}"
    fix = "rare classes are learned late or never: balance: sampler draws them more often, weights has them count more"
    return [Finding(rule="PRE008", severity="warning", where="train.balance", message=message, fix=fix)]


def _classes(data: Classified) -> list[Finding]:
    found = []
    for split, fix in (
        ("train", "the model cannot learn what it never sees"),
        ("val", "nothing will be known of how well they are recognised"),
    ):
        never = data.missing(split)
        if never:
            told = ", ".join(never[:_NAMED]) + (" ..." if len(never) > _NAMED else "")
            message = f"no image of {len(never)} of {len(data.classes)} classes: {told}"
            found.append(Finding(rule="DATA003", severity="warning", where=f"split {split}", message=message, fix=fix))
    return found
