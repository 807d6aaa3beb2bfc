"""`deploytk ensemble`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.report import Report

_TEXT, _IMAGES = ("stacking", "vote", "mbr"), ("wbf", "average", "vote", "stacking")
_OF_TEXT = ("samples", "seed", "source_column", "target_column", "rouge")


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--strategy",
    type=click.Choice(["stacking", "vote", "mbr", "wbf", "average"]),
    required=True,
    help="Texts: stacking, vote, mbr. Detectors: wbf. Classifiers: average, vote, stacking.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="What all are asked, with answers (of texts: as trained)."
)
@click.option("--tta", is_flag=True, help="Test-time augmentation: further answers of each model (flips, beams).")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of images (default val).")
@click.option("--weights", help="Of detectors and classifiers: 2,1,1 in their order.")
@click.option("--samples", type=click.IntRange(1), help="Of texts: pairs that are drawn (default 50).")
@click.option("--seed", type=int, help="Of the draw, and of the folds (default 0).")
@click.option("--source-column", help="Of texts: the column of --data that is read.")
@click.option("--target-column", help="Of texts: the column that says what should be answered.")
@click.option(
    "--rouge", type=click.Choice(["whitespace", "character", "model"]), help="What ROUGE counts (default: as trained)."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the answers and the report.")
@reporting
def ensemble(
    models: tuple[Path, ...], strategy: str, data: Path | None, *, tta: bool, out: Path | None, **values: Any
) -> Report:
    """Answer by several models as one, and say whether that is better than the best of them alone.

    \b
    deploytk ensemble runs/kobart runs/qwen3-4b runs/kullm-v2 --strategy mbr --data chat.csv
    deploytk ensemble runs/a runs/b --strategy stacking --data chat.csv --samples 200
    deploytk ensemble a.onnx b.onnx --strategy wbf --data data.yaml --tta
    deploytk ensemble a.onnx b.onnx --strategy average --data photos/

    With one model nothing is combined, and the report says so. Exit codes: 0 better than the best single model,
    8 worse, 4 not to be told apart (or one model alone).
    """
    from deploytk.report import render
    from deploytk.stages import ensemble as stage
    from deploytk.stages.text_models import is_text

    missing = next((model for model in models if not model.exists()), None)
    if missing is not None:
        raise InputError(f"{missing}: no such model or run folder")
    texts = [is_text(model) for model in models]
    if any(texts) and not all(texts):
        raise InputError("text models and others are no ensemble: they answer different questions")
    told = (_of_texts if any(texts) else _of_images)(models, strategy, data, tta, out, values)
    report = stage.report_of(told, "-".join(dict.fromkeys(model.absolute().stem for model in models)), out)
    if out is not None:
        say_last(f"report: {render.write(report, out)['html']}")
    return report


def _of_texts(
    models: tuple[Path, ...], strategy: str, data: Path | None, tta: bool, out: Path | None, values: dict[str, Any]
) -> dict[str, Any]:
    from deploytk.stages.ensemble_text import Asked, combined

    if strategy not in _TEXT:
        raise InputError(f"--strategy {strategy} is for images; of texts: {', '.join(_TEXT)}")
    for name in ("split", "weights"):
        if values[name] is not None:
            raise InputError(f"--{name} is for images; these are text models")
    asked = Asked(
        data=data,
        strategy=strategy,  # type: ignore[arg-type]  # one of _TEXT
        samples=values["samples"] or 50,
        seed=values["seed"] or 0,
        source=values["source_column"],
        target=values["target_column"],
        tokenizer=values["rouge"],
        tta=tta,
    )
    with progress("ensemble") as listen:
        return combined(models, asked, out, listen)


def _of_images(
    models: tuple[Path, ...], strategy: str, data: Path | None, tta: bool, out: Path | None, values: dict[str, Any]
) -> dict[str, Any]:
    from deploytk.stages.ensemble_images import combined

    if strategy not in _IMAGES:
        raise InputError(f"--strategy {strategy} is for text models; of images: {', '.join(_IMAGES)}")
    if data is None:
        raise InputError("Missing option '--data': labelled images")
    for name in _OF_TEXT:
        if values[name] is not None:
            raise InputError(f"--{name.replace('_', '-')} is for text models; these are none")
    with progress("ensemble") as listen:
        return combined(
            models,
            data,
            strategy=strategy,  # type: ignore[arg-type]  # one of _IMAGES
            split=values["split"] or "val",
            tta=tta,
            weights=_weights(values["weights"], len(models)),
            out=out,
            listen=listen,
        )


def _weights(text: str | None, models: int) -> list[float] | None:
    if text is None:
        return None
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--weights {text!r}: write numbers, one for each model: 2,1,1") from error
    if len(found) != models or not all(0 < weight < float("inf") for weight in found):
        raise InputError(f"--weights {text!r}: write {models} numbers above 0, one for each model")
    return found
