"""`deploytk run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say, say_last
from deploytk.cli.options import Number, overrides, training
from deploytk.cli.train import followed, going_on, how, told_how_to_go_on

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("name", metavar="PROFILE")
@training
@click.option("--target", help="onnx, openvino or npu (default: the profile's).")
@click.option("--npu", help="NPU preset or YAML file (default: the profile's).")
@click.option("--batches", help="Batch sizes to bench: 1..64, 1..64:8 or 1,2,4 (default: the profile's).")
@click.option("--time-limit", type=Number(min=0, min_open=True), help="Seconds for each bench.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder (default runs/PROFILE).")
@going_on
@reporting
def run(name: str, out: Path | None, *, resume: bool, restart: bool, **values: Any) -> Report:
    """Train, export, bench and judge one PROFILE; what is unchanged since the last time is skipped.

    \b
    deploytk run npu-level4-relu --data DATA.yaml --out RUN
    """
    from deploytk import profile_loading
    from deploytk.report import render
    from deploytk.stages.run import run as stage

    profile = profile_loading.load(name, overrides(**values))
    folder = (out or Path("runs") / profile.name).absolute()
    wanted = how(resume=resume, restart=restart)
    with progress(profile.name) as listen, told_how_to_go_on(folder):
        report = stage(profile, folder, say=say, listen=followed(profile, listen), how=wanted)
    written = render.write(report, folder)
    say_last(f"report: {written['html']}")
    return report
