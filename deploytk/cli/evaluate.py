"""`deploytk evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli import evaluate_text
from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import Number
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.report import Report

_PATH = click.Path(path_type=Path)


def _text_options(command: Any) -> Any:
    for option in reversed(evaluate_text.OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("model", type=_PATH)
@click.option(
    "--data",
    type=_PATH,
    help="data.yaml whose class names are the classifier's; of a text model a table (CSV, TSV, JSON lines, Parquet; "
    "default: what its run was trained with, without what it was trained on).",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option(
    "--against",
    type=_PATH,
    multiple=True,
    help="Another pipeline, or a run with detector/ and classifier/; of a text model another one, as often as wanted.",
)
@click.option("--detector", type=_PATH, help="Compare with these: the detector's model.pt or run folder ...")
@click.option("--classifier", type=_PATH, help="... and the classifier's.")
@click.option(
    "--max-accuracy-drop",
    "max_drop",
    type=Number(0, 1),
    default=0.02,
    show_default=True,
    help="What the mAP50 of boxes with names, or a text model's ROUGE-L, may fall by (0.02 = 2 points).",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the report.")
@_text_options
@reporting
def evaluate(
    model: Path,
    data: Path | None,
    split: str,
    against: tuple[Path, ...],
    detector: Path | None,
    classifier: Path | None,
    max_drop: float,
    out: Path | None,
    **text: Any,
) -> Report:
    """Measure how right MODEL is: a two-stage pipeline on labelled images, or a text model on pairs of texts.

    \b
    deploytk evaluate pills/ --data data.yaml
    deploytk evaluate pills/ --data data.yaml --against runs/pills
    deploytk evaluate pills-int8/ --data data.yaml --against pills-fp32/
    deploytk evaluate runs/chat --data chat.csv --against chat-int8/
    deploytk evaluate runs/chat --baseline-api https://HOST/v1 --api-model NAME --samples 50

    Of a pipeline each stage and the whole are measured: detections find objects in confidence order at an IoU of 0.5.
    Of text models all answer the same samples, and ROUGE-L is compared. Exit codes: 0 nothing lost beyond the
    tolerance, 8 more was lost, 4 nothing could be shown.
    """
    from deploytk.report import render
    from deploytk.stages.text_models import is_text

    if is_text(model):
        if detector or classifier or split != "val":
            raise InputError("--detector, --classifier and --split are for pipelines; this is a text model")
        report = evaluate_text.run_text(model, data, against, max_drop, out, text)
    else:
        evaluate_text.refuse(text)
        if data is None:
            raise InputError("Missing option '--data': a data.yaml")
        report = _of_pipeline(model, data, split, against, detector, classifier, max_drop)
    if out is not None:
        say_last(f"report: {render.write(report, out)['html']}")
    return report


def _of_pipeline(
    pipeline: Path,
    data: Path,
    split: str,
    against: tuple[Path, ...],
    detector: Path | None,
    classifier: Path | None,
    max_drop: float,
) -> Report:
    from deploytk.stages.evaluate import against_of, evaluate

    if len(against) > 1:
        raise InputError("a pipeline is compared with one other: give --against once")
    other = against_of(next(iter(against), None), detector, classifier)
    with progress("evaluate") as listen:
        return evaluate(pipeline, data, split=split, against=other, max_drop=max_drop, listen=listen)
