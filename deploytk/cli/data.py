"""`deploytk data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last

if TYPE_CHECKING:
    from deploytk.report import Report


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def data() -> None:
    """Look at a dataset before anything is trained on it.

    \b
    deploytk data check data.yaml --deep
    """


@data.command()
@click.argument("path", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "--imgsz",
    default=640,
    show_default=True,
    type=click.IntRange(32, 65536),
    help="Side of the network's input in pixels: how large objects are there.",
)
@click.option(
    "--deep", is_flag=True, help="Decode each image to its end, and look for nearly equal pictures in other splits."
)
@click.option(
    "--fix",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write a cleaned copy into this new folder, with rejected.csv: what was left out, and why.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Images looked at at once (default: the number of cores).")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the report there, and data-check.json with every place.",
)
@reporting
def check(path: Path, imgsz: int, deep: bool, fix: Path | None, jobs: int | None, out: Path | None) -> Report:
    """Find what is wrong with the images and labels of DATA: a YOLO data.yaml (or its folder) or a Pascal-VOC folder.

    Nothing in DATA is changed. Without --deep each file is read once, and no image is decoded.

    \b
    deploytk data check data.yaml
    deploytk data check data.yaml --deep --imgsz 320 --out runs/data
    deploytk data check data.yaml --deep --fix cleaned

    Exit codes: 0 nothing or warnings only, 5 errors, 2 no dataset.
    """
    from deploytk.report import render
    from deploytk.stages.data_check import check as stage

    with progress(f"checking {path.name}") as listen:
        report = stage(path, imgsz=imgsz, deep=deep, jobs=jobs, fix=fix, out=out, listen=listen)
    if out is not None:
        say_last(f"report: {render.write(report, out)['html']}")
    return report
