"""`deploytk report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting
from deploytk.cli.options import Number, share

if TYPE_CHECKING:
    from deploytk.report import Report


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def report() -> None:
    """Work with the reports of earlier commands.

    \b
    deploytk report diff runs/bench-old runs/bench-new
    """


@report.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="RUN1")
@click.argument("new", type=click.Path(path_type=Path), metavar="RUN2")
@click.option(
    "--confidence",
    type=Number(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of all intervals together.",
)
@click.option(
    "--tolerance", callback=share, default="5%", show_default=True, help="Changes up to this are the same: 5% or 0.05."
)
@click.option("--force", is_flag=True, help="Compare although machine, versions or settings differ.")
@click.option("--remeasure", is_flag=True, help="Measure the models of both runs again, side by side; that decides.")
@click.option(
    "--time-limit",
    type=Number(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for --remeasure, all points together.",
)
@reporting
def diff(
    old: Path, new: Path, confidence: float, tolerance: float, force: bool, remeasure: bool, time_limit: float
) -> Report:
    """Say what got slower from RUN1 to RUN2, beyond noise. A run is a folder with a report.json, or that file.

    \b
    deploytk report diff runs/bench-old runs/bench-new
    deploytk report diff old/report.json new/report.json --tolerance 3% --json
    deploytk report diff runs/bench-old runs/bench-new --remeasure

    Exit codes: 0 nothing is slower, 3 something is slower or breaks, 4 undecided, 2 the two cannot be compared.
    """
    from deploytk.stages.diff import diff as stage

    logs = (new if new.is_dir() else new.parent) / "remeasured" if remeasure else None
    with progress("comparing") as listen:
        return stage(
            old,
            new,
            confidence=confidence,
            tolerance=tolerance,
            force=force,
            remeasure=logs,
            time_limit_s=time_limit,
            listen=listen,
        )
