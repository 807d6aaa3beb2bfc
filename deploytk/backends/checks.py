"""What is wrong before a training is started, whatever is trained. Imports no library."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from deploytk import plugins
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.report import Finding


def error(rule: str, where: str, message: str, fix: str = "") -> Finding:
    """A finding that keeps the training from being started."""
    return Finding(rule=rule, severity="error", where=where, message=message, fix=fix)


def libraries(names: Sequence[str], extra: str) -> list[Finding]:
    """An error where one of them is not installed: they come with one extra, so that one line says all."""
    gone = [name for name in names if importlib.util.find_spec(name) is None]
    return [
        error("PRE001", "environment", plugins.missing(ModuleNotFoundError(name=name), extra).message)
        for name in gone[:1]
    ]


def unknown_arch(arch: str, known: Sequence[str], more: str) -> list[Finding]:
    """An error where there is no such architecture; `more` ends the sentence."""
    if arch in known:
        return []
    return [error("PRE002", "model.arch", f"unknown {arch!r}{plugins.suggestion(arch, known)} {more}")]


def learning_rate(profile: Profile) -> list[Finding]:
    """An error where it is above 1."""
    lr0 = profile.train.lr0
    if lr0 is None or lr0 <= 1:
        return []
    return [error("PRE003", "train.lr0", f"{lr0:g} is above 1", "usual are 0.01 (SGD) or 0.001 (AdamW)")]


def device(profile: Profile) -> list[Finding]:
    """An error where the device is none, or not there."""
    wanted = profile.train.device.removeprefix("cuda:")
    if profile.train.device in {"auto", "cpu"} or (profile.train.device == "mps" and sys.platform == "darwin"):
        return []
    if not wanted.isdigit():
        # Several GPUs ("0,1") make libraries start processes that know nothing of our loop.
        what = f"unknown device {profile.train.device!r}"
        return [error("PRE006", "train.device", what, 'use "auto", "cpu" or one GPU: "0"')]
    if sys.platform == "linux" and not Path(f"/dev/nvidia{wanted}").exists():
        return [error("PRE006", "train.device", f"there is no GPU {wanted} here", "use device: cpu or auto")]
    return []


def batch(profile: Profile, images: int) -> list[Finding]:
    """A warning where the batch is larger than the training set."""
    if images >= profile.train.batch:
        return []
    message = f"batch {profile.train.batch} is larger than the {images} training images: each epoch is one step"
    fix = f"use {max(1, images // 2)}"
    return [Finding(rule="PRE007", severity="warning", where="train.batch", message=message, fix=fix)]


def data_path(path: str | Path | None, kinds: str) -> Path:
    """Where the profile's dataset is.

    Raises:
        InputError: the profile names none; `kinds` says what it may be.
    """
    if path is None:
        raise InputError(f"data.path: no dataset; give --data {kinds}")
    return Path(path)
