"""`deploytk export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import overrides

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", help="onnx or npu (default: the profile's).")
@click.option("--npu", help="NPU preset or YAML file, with --target npu (default: the profile's).")
@reporting
def export(run: Path, target: str | None, npu: str | None) -> Report:
    """Make the model of the folder RUN ready for a target, and prove each step.

    \b
    deploytk export RUN --target onnx
    deploytk export RUN --target npu --npu ethos-u55-256
    """
    from deploytk.report import render
    from deploytk.stages.export import export as stage
    from deploytk.stages.export import with_overrides
    from deploytk.stages.run_folder import opened

    folder = opened(run.absolute())
    profile = with_overrides(folder.profile(), overrides(target=target, npu=npu))
    with progress(f"exporting to {profile.export.target}") as listen:
        report = stage(folder, profile, listen)
    written = render.write(report, folder.path / "export" / profile.export.target)
    say_last(f"report: {written['html']}")
    return report
