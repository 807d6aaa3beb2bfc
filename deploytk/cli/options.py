"""Options that more than one command has."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A float within a range; NaN, which every comparison lets through, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that `value` says."""
        number = super().convert(value, param, ctx)
        if number is not None and not math.isfinite(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def share(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """The share that `5%` or `0.05` says."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", text)
    if not found:
        raise click.BadParameter(f"{text!r} is no share; write 5% or 0.05")
    value = float(found[1]) / (100 if found[2] else 1)
    if not 0 <= value < 1:
        hint = f"; did you mean {found[1]}%?" if not found[2] else ""
        raise click.BadParameter(f"{text!r}: a tolerance is from 0% to below 100%{hint}")
    return value


Overrides = dict[tuple[str | int, ...], Any]

_TRAINING = (
    click.option(
        "--data", type=click.Path(path_type=Path), help="YOLO data.yaml or Pascal-VOC folder; never written to."
    ),
    click.option("--epochs", type=click.IntRange(1), help="Epochs to train."),
    click.option("--imgsz", type=click.IntRange(32), help="Input size in pixels, a multiple of 32."),
    click.option("--batch", type=click.IntRange(1), help="Training batch size."),
    click.option("--seed", type=int, help="Seed of training."),
    click.option("--device", help="auto, cpu, 0 ..."),
)


def training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that override a profile's data and training."""
    for option in reversed(_TRAINING):
        command = option(command)
    return command


#: Where an option stands in a profile; all others are keys of `train`.
_PLACES = {
    "data": ("data", "path"),
    "target": ("export", "target"),
    "precision": ("export", "precision"),
    "npu": ("export", "npu"),
    "calibration": ("calibration", "name"),
    "max_accuracy_drop": ("budget", "max_accuracy_drop"),
    "preprocess": ("export", "preprocess"),
    "nms": ("export", "nms"),
    "batches": ("bench", "batches"),
    "time_limit": ("bench", "time_limit_s"),
}


def overrides(**options: Any) -> Overrides:
    """The profile keys that the command line sets: what is None stays as the profile has it."""
    given = {name: value for name, value in options.items() if value is not None}
    if "data" in given:
        given["data"] = str(given["data"].resolve())
    return {_PLACES.get(name, ("train", name)): value for name, value in given.items()}
