"""`deploytk demo-data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command("demo-data")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--train", default=384, show_default=True, type=click.IntRange(1), help="Images to train on.")
@click.option("--val", default=64, show_default=True, type=click.IntRange(1), help="Images to validate on.")
@click.option("--imgsz", default=160, show_default=True, type=click.IntRange(64), help="Side of the images in pixels.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed, the same bytes.")
@reporting
def demo_data(out: Path, train: int, val: int, imgsz: int, seed: int) -> Report:
    """Draw a small labelled detection set into the folder OUT, in YOLO layout.

    \b
    deploytk demo-data runs/demo/data --train 384 --val 64
    """
    from deploytk.budget import Verdict
    from deploytk.data.synthetic import CLASSES, make_dataset
    from deploytk.report import Report

    with progress("drawing") as listen:
        path = make_dataset(out, train=train, val=val, imgsz=imgsz, seed=seed, listen=listen)
    say(f"data: {path}")
    reason = f"{path}: {train} training and {val} validation images of {', '.join(CLASSES)}, {imgsz} px, seed {seed}"
    told = {"data": str(path), "train": train, "val": val, "imgsz": imgsz, "seed": seed, "classes": list(CLASSES)}
    return Report(
        command="demo-data",
        title="demo data",
        verdict=Verdict(status="pass", reasons=(reason,)),
        exit_code=0,
        sections={"data": told},
    )
