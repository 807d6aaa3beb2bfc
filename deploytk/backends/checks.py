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
    return _device(profile.train.device, 'use "auto", "cpu" or one GPU: "0"')


def devices(profile: Profile, images: int | None) -> list[Finding]:
    """The same of a backend that trains on several devices, "0,1", with a process for each.

    Args:
        images: how many there are to train on, where that is known.
    """
    wanted = profile.train.devices
    if len(wanted) == 1:
        return device(profile)
    fix = 'name several of one kind: "0,1", or "cpu,cpu"'
    if len(set(wanted)) < len(wanted) and set(wanted) != {"cpu"}:
        return [error("PRE006", "train.device", f"{profile.train.device!r} names one GPU twice", fix)]
    if len({name == "cpu" for name in wanted}) > 1 or not {"auto", "mps", ""}.isdisjoint(wanted):
        return [error("PRE006", "train.device", f"{profile.train.device!r} are no devices to train on together", fix)]
    found = [finding for name in dict.fromkeys(wanted) for finding in _device(name, fix)]
    least = 2 * len(wanted)
    if min(profile.train.batch, images or least) < least:
        what = f"{len(wanted)} processes share each batch, and two images each are at least needed: {least}"
        found.append(error("PRE006", "train.batch", what, "use fewer devices, or more images"))
    return found


def _device(name: str, fix: str) -> list[Finding]:
    wanted = name.removeprefix("cuda:")
    if name in {"auto", "cpu"} or (name == "mps" and sys.platform == "darwin"):
        return []
    if not wanted.isdigit():
        # Several GPUs ("0,1") make libraries start processes that know nothing of our loop.
        return [error("PRE006", "train.device", f"unknown device {name!r}", fix)]
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
