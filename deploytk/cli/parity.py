"""`deploytk parity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("converted", type=click.Path(path_type=Path))
@click.option("--samples", type=click.Path(path_type=Path), help="An .npz with one array per input of SOURCE.")
@click.option(
    "--images", multiple=True, type=click.Path(path_type=Path), help="Images: a folder, files or a data.yaml."
)
@click.option("--imgsz", type=click.IntRange(32), help="Side of the images, where the model takes any.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report and the log.")
@reporting
def parity(
    source: Path,
    converted: Path,
    samples: Path | None,
    images: tuple[Path, ...],
    imgsz: int | None,
    out: Path | None,
) -> Report:
    """Compare CONVERTED with SOURCE on real samples: outputs at several batch and image sizes, and layer by layer.

    \b
    deploytk parity RUN/model.pt RUN/export/onnx/model.onnx
    deploytk parity model.onnx model_int8.onnx --images photos/

    Without samples, the validation images of the run folder that one of the two stands in. Exit codes: 0 alike, 8 not,
    with the first layer that went wrong where both models name their layers.
    """
    from deploytk.errors import InputError
    from deploytk.report import render
    from deploytk.stages.parity import parity as stage

    if samples and images:
        raise InputError("--samples and --images: give one of them")
    with progress(f"comparing {converted.name}") as listen:
        report = stage(source, converted, samples=samples, images=images, imgsz=imgsz, out=out, listen=listen)
    if out is not None:
        render.write(report, out)
    return report
