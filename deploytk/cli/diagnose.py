"""`deploytk diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="The dataset it was trained on, to look at its labels.")
@click.option(
    "--patch", type=click.Path(path_type=Path, dir_okay=False), help="Write the profile to try next into this .yaml."
)
@reporting
def diagnose(path: Path, data: Path | None, patch: Path | None) -> Report:
    """Say what went wrong in the training that PATH is the log of, and what to try next.

    PATH is a run folder, a results.csv (Ultralytics, YOLOv5 to v10), a console log or a trainer_state.json.

    \b
    deploytk diagnose RUN
    deploytk diagnose runs/detect/train/results.csv --patch next.yaml

    Exit codes: 0 healthy, 4 it was still getting better at its end, 7 degraded, collapsed, never learned or failed.
    """
    from deploytk.stages.diagnose import diagnose as stage

    with progress(f"reading {path.name}"):
        report = stage(path, data=data, patch=patch)
    if patch is not None:
        written = report.sections["diagnosis"]["written"]
        told = f"deploytk train {written}" if written else "nothing to try next: no profile was written"
        say_last(f"\nNext: {told}" if written else told)
    return report
