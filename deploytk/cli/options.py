"""Options that more than one command has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

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


def overrides(
    *, data: Path | None = None, target: str | None = None, npu: str | None = None, **train: Any
) -> Overrides:
    """The profile keys that the command line sets: what is None stays as the profile has it."""
    found: Overrides = {("train", key): value for key, value in train.items() if value is not None}
    if data is not None:
        found[("data", "path")] = str(data.resolve())
    if target is not None:
        found[("export", "target")] = target
    if npu is not None:
        found[("export", "npu")] = npu
    return found
