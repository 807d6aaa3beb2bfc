"""`deploytk evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import Number

if TYPE_CHECKING:
    from deploytk.report import Report

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("pipeline", type=_PATH)
@click.option("--data", type=_PATH, required=True, help="data.yaml whose class names are the classifier's.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option("--against", type=_PATH, help="Another pipeline, or a run with detector/ and classifier/.")
@click.option("--detector", type=_PATH, help="Compare with these: the detector's model.pt or run folder ...")
@click.option("--classifier", type=_PATH, help="... and the classifier's.")
@click.option(
    "--max-accuracy-drop",
    "max_drop",
    type=Number(0, 1),
    default=0.02,
    show_default=True,
    help="What the mAP50 of boxes with names may fall by (0.02 = 2 points).",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the report.")
@reporting
def evaluate(
    pipeline: Path,
    data: Path,
    split: str,
    against: Path | None,
    detector: Path | None,
    classifier: Path | None,
    max_drop: float,
    out: Path | None,
) -> Report:
    """Measure how right a two-stage PIPELINE is on labelled images, per stage and as a whole.

    \b
    deploytk evaluate pills/ --data data.yaml
    deploytk evaluate pills/ --data data.yaml --against runs/pills
    deploytk evaluate pills-int8/ --data data.yaml --against pills-fp32/

    Detections find objects in confidence order at an IoU of 0.5. Exit codes: 0 nothing lost beyond the tolerance, 8
    more was lost, 4 nothing could be shown.
    """
    from deploytk.report import render
    from deploytk.stages.evaluate import against_of
    from deploytk.stages.evaluate import evaluate as stage

    with progress("evaluate") as listen:
        report = stage(
            pipeline,
            data,
            split=split,
            against=against_of(against, detector, classifier),
            max_drop=max_drop,
            listen=listen,
        )
    if out is not None:
        say_last(f"report: {render.write(report, out)['html']}")
    return report
