"""A profile to try next: the run's own with a patch over it, as YAML that validates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deploytk.profile import Profile
from deploytk.profile_training import Train
from deploytk.training.diagnosis.values import Curves

#: What of foreign settings a profile has too.
_SHARED = (
    "epochs", "imgsz", "batch", "optimizer", "lr0", "lrf", "momentum", "weight_decay", "warmup_epochs",
    "warmup_bias_lr", "patience", "mosaic", "close_mosaic", "seed",
)  # fmt: skip
_HEAD = "# Made by deploytk diagnose from {source}. Look it over, then: deploytk train THIS.yaml\n"


def base_of(curves: Curves, profile: Profile | None) -> dict[str, Any]:
    """The profile that a patch is laid over: the run's own, or one with what is known of foreign settings."""
    if profile is not None:
        return profile.model_dump(mode="json", by_alias=True)
    known = {name: curves.setting(name) for name in _SHARED if curves.setting(name) is not None}
    train = {name: value for name, value in map(_fitting, known.items()) if value is not None}
    if train.get("optimizer") == "auto":
        train.pop("lr0", None)  # it was ignored
    if (gathered := _fitting(("effective_batch", curves.setting("nbs")))[1]) is not None:
        # Ultralytics gathers the gradients of nbs images, also where a batch has one.
        train["effective_batch"] = max(gathered, train.get("batch", 1))
    return {"name": "next-try", **_data(curves.setting("data")), "train": train}


def _data(told: Any) -> dict[str, Any]:
    """The dataset, where it is still there."""
    try:
        there = isinstance(told, str) and Path(told).is_absolute() and Path(told).exists()
    except (OSError, ValueError):
        there = False
    return {"data": {"path": told}} if there else {}


def _fitting(item: tuple[str, Any]) -> tuple[str, Any]:
    """A setting as a profile has it; None where a profile cannot have it (batch -1, optimizer Adan)."""
    name, value = item
    value = int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e9 else value
    if name == "imgsz" and isinstance(value, int):
        value = -(-value // 32) * 32
    try:
        Train.model_validate({name: value})
    except (ValidationError, OverflowError):
        return name, None
    return name, value


def laid_over(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `patch`."""
    found = dict(base)
    for key, value in patch.items():
        below = found.get(key)
        found[key] = laid_over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return found


def valid(base: Mapping[str, Any], patch: Mapping[str, Any]) -> bool:
    """Whether the patch makes a profile of the base."""
    try:
        Profile.model_validate(laid_over(base, patch))
    except ValidationError:
        return False
    return True


def as_yaml(patch: Mapping[str, Any]) -> str:
    """The patch alone."""
    return yaml.safe_dump(dict(patch), sort_keys=False)


def profile_yaml(patch: Mapping[str, Any], base: Mapping[str, Any], *, run: Path | None, out: Path, source: str) -> str:
    """A whole profile for the file `out`: it extends the run's, or states what is known beside the patch."""
    if run is None:
        return _HEAD.format(source=source) + as_yaml(laid_over(base, patch))
    parent = os.path.relpath((run / "profile.json").resolve(), out.resolve().parent)
    parent = parent if "/" in parent else f"./{parent}"
    told = {"extends": parent, "name": f"{base['name']}-next", **patch}
    return _HEAD.format(source=source) + as_yaml(told)


def one_line(patch: Mapping[str, Any]) -> str:
    """`train.lr0: 0.001, train.optimizer: SGD`."""
    told = []
    for section, values in patch.items():
        if isinstance(values, Mapping):
            told += [f"{section}.{key}: {value}" for key, value in values.items()]
        else:
            told.append(f"{section}: {values}")
    return ", ".join(told)
