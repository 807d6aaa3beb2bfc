"""`deploytk train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import overrides, training

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.option("--profile", "name", required=True, help="A profile's name, or a YAML file.")
@training
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder (default runs/PROFILE).")
@reporting
def train(name: str, out: Path | None, **values: Any) -> Report:
    """Train the model of a profile into a run folder.

    \b
    deploytk train --profile npu-level4-relu --data DATA.yaml --epochs 3 --imgsz 320 --out RUN
    """
    from deploytk import profile_loading
    from deploytk.stages.train import train as stage

    profile = profile_loading.load(name, overrides(**values))
    folder = out or Path("runs") / profile.name
    with progress(f"training {profile.name}") as listen:
        report = stage(profile, folder.absolute(), listen)
    say_last(f"run folder: {folder}")
    return report
