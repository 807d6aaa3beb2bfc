"""`deploytk predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGES...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the images with their boxes and predictions.json (default: nothing is written).",
)
@reporting
def predict(pipeline: Path, images: tuple[Path, ...], out: Path | None) -> Report:
    """Say what is in IMAGES (files, or folders of them): the boxes of a two-stage PIPELINE and their names.

    \b
    deploytk predict pills/ photo.jpg
    deploytk predict pills/ photos/ --out drawn/ --json

    An image that cannot be read is told and left out. Exit codes: 0, or 2 where not one could be read.
    """
    from deploytk.stages.predict import predict as stage

    with progress("predict") as listen:
        report = stage(pipeline, images, out=out, listen=listen)
    if out is not None:
        say_last(f"images with boxes: {out}")
    return report
