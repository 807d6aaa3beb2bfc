"""`deploytk bench`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import Number

if TYPE_CHECKING:
    from deploytk.report import Report

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


def batch_sizes(_ctx: click.Context, _param: click.Parameter, text: str) -> list[int]:
    """The batch sizes, ascending: `1..64` (doubling), `1..64:8` (steps of 8), `1,2,4`."""
    from deploytk.batches import parse_batches
    from deploytk.errors import InputError

    try:
        return parse_batches(text)
    except InputError as error:
        raise click.BadParameter(error.message) from error


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--batches", callback=batch_sizes, default="1", show_default=True, help="1..64 (doubling), 1..64:8 or 1,2,4."
)
@click.option("--budget", callback=milliseconds, default="50ms", show_default=True, help="50ms, 0.05s or 50 (ms).")
@click.option(
    "--percentile",
    type=Number(0, 100, min_open=True, max_open=True),
    default=95.0,
    show_default=True,
    help="Of the latency: what is judged.",
)
@click.option(
    "--confidence",
    type=Number(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of pass and of fail, one-sided.",
)
@click.option(
    "--per",
    type=click.Choice(["batch", "item"]),
    default="batch",
    show_default=True,
    help="The budget holds for a whole batch, or for each item in it.",
)
@click.option(
    "--require",
    type=click.Choice(["any", "all"]),
    default="any",
    show_default=True,
    help="Which of the batch sizes must meet the budget.",
)
@click.option("--max-memory-mb", type=Number(0, min_open=True), help="Peak memory that a batch size may use.")
@click.option("--max-size-mb", type=Number(0, min_open=True), help="Largest size of the file.")
@click.option("--runtime", help="onnx or litert (default: by the file's content).")
@click.option("--threads", type=click.IntRange(1), help="Threads of the runtime (default: its own choice).")
@click.option(
    "--time-limit",
    type=Number(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for the whole sweep.",
)
@click.option(
    "--samples",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=".npz of real inputs (default: drawn ones).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report and the logs (default runs/bench-MODEL).",
)
@reporting
def bench(model: Path, out: Path | None, **values: Any) -> Report:
    """Measure MODEL (.onnx or .tflite) by batch size, each in its own process, and judge it against a budget.

    A model that Vela compiled for an Ethos-U is judged by Vela's estimate, marked as one.

    \b
    deploytk bench model.onnx --batches 1..64 --budget 50ms
    deploytk bench model.tflite --budget 20ms --percentile 99 --threads 1 --json

    Exit codes: 0 within the budget, 3 over it, 4 inconclusive.
    """
    from deploytk.budget import Budget
    from deploytk.report import render
    from deploytk.stages.bench import bench as stage

    budget = Budget(
        latency_ms=values["budget"],
        **{name: values[name] for name in ("percentile", "confidence", "per", "max_memory_mb", "max_size_mb")},
    )
    folder = (out or Path("runs") / f"bench-{model.stem}").absolute()
    with progress(f"bench {model.name}") as listen:
        report = stage(
            model,
            budget=budget,
            batches=values["batches"],
            runtime=values["runtime"],
            threads=values["threads"],
            time_limit_s=values["time_limit"],
            require=values["require"],
            feeds=values["samples"],
            out=folder,
            listen=listen,
        )
    say_last(f"report: {render.write(report, folder)['html']}")
    return report
