"""The options of `deploytk bench` that put a model under load: `--scenario` and `--soak`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress
from deploytk.cli.options import Number
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.budget import Budget
    from deploytk.report import Report

_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|)\s*", re.IGNORECASE)
_SECONDS = {"s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
#: How long requests are sent where nothing is said.
_USUAL_S = 60.0


def seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    """The duration in s: `10m`, `30s`, `1h`; a bare number is seconds."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    duration_s = float(found[1]) * _SECONDS[found[2].lower()] if found else 0.0
    if not 0 < duration_s < math.inf:
        raise click.BadParameter(f"{text!r} is no duration; write 30s, 10m or 1h")
    return duration_s


OPTIONS = (
    click.option(
        "--scenario",
        type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
        help="Send requests as MLPerf's scenario does, and judge the latency under that load.",
    ),
    click.option("--qps", type=Number(0, min_open=True), help="For server: requests per second (Poisson arrivals)."),
    click.option("--streams", type=click.IntRange(1), help="For multi-stream: items in one query (default 8)."),
    click.option("--workers", type=click.IntRange(1), help="Requests that may run at the same time (default 1)."),
    click.option("--duration", callback=seconds, help="How long requests are sent: 60s (default), 10m."),
    click.option("--soak", callback=seconds, help="One request after another for 10m: drift, leaks, worst second."),
)
_OWN = ("scenario", "qps", "streams", "workers", "duration", "soak")


def wanted(values: Mapping[str, Any]) -> bool:
    """Whether the command line asks for a load."""
    return any(values.get(name) is not None for name in _OWN)


def run_load(models: Sequence[Path], out: Path, values: Mapping[str, Any], budget: Budget) -> Report:
    """The report of the load that the command line asks for.

    Raises:
        InputError: its options do not fit each other.
    """
    from deploytk.stages.load import load

    _require_sense(models, values)
    scenario: Any = "soak" if values["soak"] is not None else values["scenario"]
    with progress(f"{scenario} {models[0].name}") as listen:
        return load(
            models[0],
            scenario=scenario,
            budget=budget,
            qps=values["qps"],
            streams=values["streams"],
            workers=values["workers"] or 1,
            batch=_batch(values),
            duration_s=values["soak"] or values["duration"] or _USUAL_S,
            runtime=next(iter(values["runtime"]), None),
            threads=values["threads"],
            options=values["options"],
            samples=values["samples"],
            trust=values["trust"],
            out=out,
            listen=listen,
        )


def _require_sense(models: Sequence[Path], values: Mapping[str, Any]) -> None:
    if len(models) != 1 or len(values["runtime"]) > 1:
        raise InputError("a load is for one MODEL and one --runtime")
    if values["soak"] is not None and (values["scenario"] or values["duration"]):
        raise InputError("--soak 10m has its own load and duration: leave --scenario and --duration out")
    if values["soak"] is None and values["scenario"] is None:
        given = ", ".join(f"--{name}" for name in _OWN if values[name] is not None)
        raise InputError(f"{given}: add --scenario single-stream, multi-stream, offline or server")
    if values.get("side_by_side"):
        raise InputError("--compare is for the closed loop of bench: run each --scenario by itself")
    if values["threads"] == "auto":
        raise InputError("--threads auto is for bench without a load; give a number")


def _batch(values: Mapping[str, Any]) -> int | None:
    """The one batch size the user gave, None where nothing was given."""
    from deploytk.batches import parse_batches

    source = click.get_current_context().get_parameter_source("batches")
    if source in (None, click.core.ParameterSource.DEFAULT):
        return None
    sizes = parse_batches(values["batches"])
    if len(sizes) != 1:
        raise InputError(f"--batches {values['batches']}: a load has one batch size, for example --batches 8")
    return sizes[0]
