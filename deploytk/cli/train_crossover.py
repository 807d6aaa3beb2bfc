"""`deploytk train crossover RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--modules", help="backbone=model.0-9,head=model.22: other modules than the backend's own.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder (default RUN/crossover).")
@reporting
def crossover(run: Path, modules: str | None, out: Path | None) -> Report:
    """Look for a better model in the kept checkpoints of RUN, a finished training; RUN/model.pt is never touched.

    \b
    deploytk train crossover RUN
    deploytk train crossover RUN --modules backbone=model.0-9,rest=model.10-22

    Each module is tried with its weights of each kept epoch (sweet spots); swaps are accepted only where the metric
    rises on one part of the validation images, and judged on the other, beside plain averaging.

    Exit codes: 0 gained, or nothing to gain (said so); 4 the gain did not hold on the held-out part.
    """
    from deploytk.stages.crossover import crossover as stage
    from deploytk.training.crossover import groups

    wanted = groups(modules) if modules is not None else None
    with progress("crossover") as listen:
        report = stage(run.absolute(), out.absolute() if out else None, modules=wanted, listen=listen)
    say_last(f"report: {(out or run / 'crossover') / 'report.html'}")
    return report
