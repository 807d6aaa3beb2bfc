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
        "--data",
        type=click.Path(path_type=Path),
        help="YOLO data.yaml or Pascal-VOC folder; of a classifier also a folder per class or a manifest (CSV); "
        "of a text model a table (CSV, TSV, JSON lines, Parquet).",
    ),
    click.option("--epochs", type=click.IntRange(1), help="Epochs to train."),
    click.option("--imgsz", type=click.IntRange(32), help="Input size in pixels, a multiple of 32."),
    click.option("--batch", type=click.IntRange(1), help="Training batch size."),
    click.option("--seed", type=int, help="Seed of training."),
    click.option("--device", help="auto, cpu, 0 ..."),
    click.option(
        "--tiny", is_flag=True, default=None, help="Of a text model: a small random network of its architecture."
    ),
    click.option("--source-column", help="Of a text model: the column of --data that it reads."),
    click.option("--target-column", help="Of a text model: the column that it is to write."),
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
    "qat_epochs": ("export", "qat_epochs"),
    "calibration": ("calibration", "name"),
    "max_accuracy_drop": ("budget", "max_accuracy_drop"),
    "preprocess": ("export", "preprocess"),
    "nms": ("export", "nms"),
    "engine_batches": ("export", "tensorrt", "batches"),
    "best_batch": ("export", "tensorrt", "best_batch"),
    "workspace": ("export", "tensorrt", "workspace_gib"),
    "timing_cache": ("export", "tensorrt", "timing_cache"),
    "opt_level": ("export", "tensorrt", "level"),
    "batches": ("bench", "batches"),
    "time_limit": ("bench", "time_limit_s"),
    "tiny": ("text", "tiny"),
    "source_column": ("text", "source"),
    "target_column": ("text", "target"),
}


def overrides(**options: Any) -> Overrides:
    """The profile keys that the command line sets: what is None stays as the profile has it."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("data", "timing_cache"):
        if name in given:
            given[name] = str(given[name].resolve())
    return {_PLACES.get(name, ("train", name)): value for name, value in given.items()}


_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|)\s*", re.IGNORECASE)
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "": 1.0}


def milliseconds(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """The duration in ms: `50ms`, `0.05s`, `800us`; a bare number is milliseconds."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise click.BadParameter(f"{text!r} is no duration; write 50ms, 0.05s or 50 (milliseconds)")
    duration_ms = float(found[1]) * _MS[found[2].lower()]
    if not 0 < duration_ms < math.inf:
        raise click.BadParameter(f"{text!r}: a budget is more than 0 ms")
    return duration_ms


_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(GiB|MiB|GB|MB|G|M)\s*", re.IGNORECASE)
_BYTES = {"gib": 2**30, "mib": 2**20, "g": 2**30, "m": 2**20, "gb": 10**9, "mb": 10**6}


def gibibytes(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """The size in GiB: `4GiB`, `512MiB`, `4GB`."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if not found or not float(found[1]):
        raise click.BadParameter(f"{text!r} is no size; write 4GiB or 512MiB")
    return float(found[1]) * _BYTES[found[2].lower()] / 2**30


def thread_count(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | str | None:
    """A number of threads, or `auto`."""
    if text is None or text == "auto":
        return text
    if not text.isdecimal() or not int(text):
        raise click.BadParameter(f"{text!r}: give a number of threads, or auto to have it measured")
    return int(text)


#: What more than one command asks about a budget.
BUDGET = click.option(
    "--budget", callback=milliseconds, default="50ms", show_default=True, help="50ms, 0.05s or 50 (ms)."
)
PERCENTILE = click.option(
    "--percentile",
    type=Number(0, 100, min_open=True, max_open=True),
    default=95.0,
    show_default=True,
    help="Of the latency: what is judged.",
)
PER = click.option(
    "--per",
    type=click.Choice(["batch", "item"]),
    default="batch",
    show_default=True,
    help="The budget holds for a whole batch, or for each item in it.",
)
BOUNDARY = click.option(
    "--boundary",
    type=click.Choice(["model", "end_to_end"]),
    default="model",
    show_default=True,
    help="What the clock holds: the model's run, or from the image file's bytes to the result.",
)
