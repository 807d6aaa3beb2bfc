"""`deploytk calibrate make | list | check`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import errors_told, print_json, progress, reporting
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.report import Report


def set_name(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    """A name that is one folder."""
    if not re.fullmatch(r"\w[^/\\]*", text):
        raise click.BadParameter(f"{text!r}: a name starts with a letter, a digit or _ and holds no slash")
    return text


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def calibrate() -> None:
    """Make, list and check calibration sets: the real images whose activations set INT8 ranges.

    \b
    deploytk calibrate make DATA --name pills --samples 128
    deploytk calibrate check pills
    """


@calibrate.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--name", required=True, callback=set_name, help="What the set is called; also its folder.")
@click.option("--samples", default=128, show_default=True, type=click.IntRange(8), help="How many training images.")
@click.option(
    "--imgsz", type=click.IntRange(8), help="Side of the model's square input (default: 640, classifiers 224)."
)
@click.option(
    "--prepare",
    type=click.Path(path_type=Path, dir_okay=False),
    help="YAML file with the whole preparation, instead of --imgsz.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed, the same images.")
@click.option(
    "--out",
    default=Path("calibration"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the sets.",
)
@reporting
def make(data: Path, name: str, samples: int, imgsz: int | None, prepare: Path | None, seed: int, out: Path) -> Report:
    """Choose calibration images from the training split of DATA, and write them down in OUT/NAME/set.yaml.

    DATA is a YOLO data.yaml, a Pascal-VOC folder, or a folder with one subfolder per class (in train/ and val/, or
    alone). Every class is covered, then the brightness. Refused: images that are in the evaluation splits too.

    \b
    deploytk calibrate make data.yaml --name pills --samples 128 --imgsz 320
    deploytk calibrate make photos/ --name leaves --prepare prepare.yaml
    """
    from deploytk.stages import calibrate as stage

    if imgsz is not None and prepare is not None:
        raise InputError("--imgsz and --prepare: give one of them; the file says the size")
    with progress("looking at the images"):
        return stage.make(data, name=name, samples=samples, imgsz=imgsz, prepare=prepare, seed=seed, out=out)


@calibrate.command()
@click.argument("name")
@reporting
def check(name: str) -> Report:
    """Check the set NAME (or in the folder NAME): every file there, unchanged, and none among the evaluation images.

    \b
    deploytk calibrate check pills
    """
    from deploytk.stages import calibrate as stage

    with progress("looking at the images"):
        return stage.check(name)


@calibrate.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_sets(as_json: bool) -> None:
    """List the sets in ./calibration and the shipped ones."""
    from deploytk.stages import calibrate as stage

    with errors_told(as_json=as_json):
        rows = stage.listed()
    if as_json:
        reason = f"{len(rows)} calibration sets"
        print_json({"verdict": "pass", "exit_code": 0, "reasons": [reason], "artifact": None, "sets": rows})
        return
    for row in rows:
        facts = "{images} images, {preparation}, sha256 {sha256:.12}, of {dataset}"
        click.echo(f"{row['name']}  {row.get('error') or facts.format(**row)}")
    if not rows:
        click.echo("no calibration set; make one with: deploytk calibrate make DATA --name NAME")
