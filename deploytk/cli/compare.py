"""`deploytk compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import reporting, say

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the Markdown table here.")
@reporting
def compare(runs: tuple[Path, ...], out: Path | None) -> Report:
    """Put the reports of several run folders into one table.

    \b
    deploytk compare runs/npu-silu runs/npu-level4-relu runs/npu-level4-leaky --out table.md
    """
    from deploytk.files import write_text
    from deploytk.stages import compare as stage

    report = stage.compare(list(runs))
    told = report.sections["compare"]
    table = stage.markdown(told["rows"], told["columns"])
    say(table)
    if out is not None:
        write_text(out, table)
    return report
