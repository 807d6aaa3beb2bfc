"""What is wrong before a classifier's training is started. Imports neither torch nor timm."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from deploytk.backends import checks
from deploytk.backends.classifier import fixed_sizes
from deploytk.data import classified, images
from deploytk.data.classified import Classified
from deploytk.errors import InputError
from deploytk.graphs import pickles
from deploytk.profile import SECTIONS, Profile
from deploytk.report import Finding

_LIBRARIES = ("torch", "torchvision", "timm", "cv2")
_REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")
_NAMED = 5


def preflight(profile: Profile) -> list[Finding]:
    """What is wrong with a profile, its data and this machine; every image is decoded once. Nothing is written."""
    missing = checks.libraries(_LIBRARIES, "classifier")
    found = [*missing, *_model(profile, known=not missing), *checks.learning_rate(profile), *checks.device(profile)]
    try:
        data = classified.read(data_path(profile))
        images.check(p.image for pictures in data.splits.values() for p in pictures)
    except InputError as error:
        return [*found, checks.error("PRE004", "data", error.message)]
    return [*found, *_classes(data), *checks.batch(profile, len(data.splits["train"]))]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the profile's dataset: classes, images, labels."""
    return classified.read(data_path(profile)).fingerprint()


def data_path(profile: Profile) -> Path:
    """Where the profile's dataset is.

    Raises:
        InputError: the profile names none.
    """
    return checks.data_path(profile.data.path, "FOLDER, with train/CLASS/... and val/CLASS/... in it")


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


def _classes(data: Classified) -> list[Finding]:
    never = data.missing("val")
    if not never:
        return []
    told = ", ".join(never[:_NAMED]) + (" ..." if len(never) > _NAMED else "")
    message = f"no image of {len(never)} of {len(data.classes)} classes: {told}"
    fix = "nothing will be known of how well they are recognised"
    return [Finding(rule="DATA003", severity="warning", where="split val", message=message, fix=fix)]
