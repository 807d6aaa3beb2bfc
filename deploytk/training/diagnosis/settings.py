"""The settings of a training from what stands beside its log: args.yaml, opt.yaml, hyp.yaml, profile.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploytk.errors import InputError
from deploytk.training.diagnosis.text import text_of
from deploytk.training.diagnosis.values import Setting

#: What others call it -> what we call it.
_ALIASES = {
    "batch_size": "batch", "train_batch_size": "batch", "per_device_train_batch_size": "batch",
    "learning_rate": "lr0", "num_train_epochs": "epochs", "img_size": "imgsz", "optim": "optimizer",
    "max_grad_norm": "clip_norm",
}  # fmt: skip
KNOWN = frozenset(
    {
        "amp", "batch", "clip_norm", "close_mosaic", "data", "device", "effective_batch", "epochs", "fp16", "bf16",
        "imgsz", "lr0", "lrf", "momentum", "mosaic", "nbs", "optimizer", "patience", "precision", "seed", "task",
        "warmup_bias_lr", "warmup_epochs", "weight_decay", "workers",
    }
)  # fmt: skip
#: More epochs than anybody asks for.
_MOST = 1e9
_FILES = ("hyp.yaml", "opt.yaml", "args.yaml")


def beside(folder: Path) -> dict[str, Setting]:
    """What is known of the training whose log lies in `folder`; what cannot be read is not known."""
    found: dict[str, Setting] = {}
    for name in _FILES:
        found |= _of_yaml(folder / name)
    return found | of_profile(folder / "profile.json")


def planned(known: Mapping[str, Setting]) -> float | None:
    """How many epochs were asked for, None where that is not known."""
    told = known.get("epochs")
    value = told.value if told else None
    return float(value) if isinstance(value, int | float) and 0 < value < _MOST else None


def named(told: Mapping[Any, Any], where: str, lines: Mapping[str, int] | None = None) -> dict[str, Setting]:
    """The settings among `told`, by our names."""
    found = {}
    for key, value in told.items():
        name = _ALIASES.get(str(key), str(key))
        if name in KNOWN and value is not None and not isinstance(value, dict | list):
            line = (lines or {}).get(str(key))
            found[name] = Setting(value=_plain(value), where=f"{where}:{line}" if line else where)
    return found


def of_profile(path: Path) -> dict[str, Setting]:
    """The settings of the profile that a run of deploytk keeps."""
    told = _json(path)
    train = told.get("train")
    data = told.get("data")
    lines = _lines(path) if told else {}
    found = named(train, path.name, lines) if isinstance(train, dict) else {}
    if isinstance(train, dict) and "clip_norm" in train and train["clip_norm"] is None:
        found["clip_norm"] = Setting(value=0.0, where=path.name)  # 0: not clipped
    if isinstance(data, dict) and data.get("path"):
        found["data"] = Setting(value=str(data["path"]), where=path.name)
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(text_of(path))
    except (InputError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _of_yaml(path: Path) -> dict[str, Setting]:
    if not path.is_file():
        return {}
    try:
        # Only what is flat matters, and its lines; safe_load builds plain values alone.
        told = yaml.safe_load(text_of(path))
    except (InputError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return named(told, path.name, _lines(path)) if isinstance(told, dict) else {}


def _lines(path: Path) -> dict[str, int]:
    """Which line each key stands in: the first that begins with it."""
    found: dict[str, int] = {}
    for i, line in enumerate(text_of(path).splitlines(), start=1):
        key, colon, _ = line.partition(":")
        if colon:
            found.setdefault(key.strip().strip("\"'"), i)
    return found


def _plain(value: Any) -> Any:
    """A number where a text is one: `1e-3` is text to YAML."""
    if isinstance(value, str):
        try:
            return float(value) if any(c in value for c in ".eE") else int(value)
        except ValueError:
            return value
    return value
