"""`deploytk data check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deploytk.cli.common import progress, reporting, say_last
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.report import Report

#: Options that say nothing of a folder.
_OF_MANIFESTS = ("remove", "index", "least", "cache", "engine")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def data() -> None:
    """Look at a dataset before anything is trained on it.

    \b
    deploytk data check data.yaml --deep
    deploytk data check train.csv val.csv --deep
    """


@data.command()
@click.argument("paths", metavar="DATA...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--imgsz",
    default=640,
    show_default=True,
    type=click.IntRange(32, 65536),
    help="Side of the network's input in pixels: how large objects are there.",
)
@click.option(
    "--quick/--deep",
    "quick",
    default=True,
    help="--deep: decode each image to its end, and look for nearly equal pictures in other splits. "
    "--quick (default): read each file once.",
)
@click.option(
    "--fix",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write a cleaned copy into this new folder, with rejected.csv: what was left out, and why.",
)
@click.option(
    "--remove-corrupt",
    "remove",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Of a manifest: write it without the rows that cannot be used into this new folder, with rejected.csv.",
)
@click.option(
    "--class-index",
    "index",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a manifest: write its labels, sorted, with their ids to this JSON file.",
)
@click.option(
    "--least",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Of a manifest: with fewer images in train a class is told to be rare.",
)
@click.option(
    "--cache",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of a manifest: remember here what was seen in each file (default: data-check.sqlite in --out, or beside "
    "--remove-corrupt).",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Images looked at at once (default: the number of cores).")
@click.option(
    "--engine",
    default="processes",
    show_default=True,
    type=click.Choice(["processes", "ray"]),
    help="Of a manifest: look at images here, or on the Ray cluster of RAY_ADDRESS (one is begun here without it).",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the report there, and data-check.json with every place.",
)
@reporting
def check(paths: tuple[Path, ...], quick: bool, jobs: int | None, out: Path | None, **more: Any) -> Report:
    """Find what is wrong with the images and labels of DATA: a YOLO data.yaml (or its folder), a Pascal-VOC folder, or
    a manifest: CSV files with a header, path,label and if wanted split,x1,y1,x2,y2.

    Nothing in DATA is changed. Without --deep each file is read once, and no image is decoded.

    \b
    deploytk data check data.yaml
    deploytk data check data.yaml --deep --imgsz 320 --out runs/data
    deploytk data check data.yaml --deep --fix cleaned
    deploytk data check train.csv val.csv --deep --remove-corrupt cleaned --class-index classes.json

    Exit codes: 0 nothing or warnings only, 5 errors, 2 no dataset.
    """
    from deploytk.report import render

    of_manifest = _is_manifest(paths)
    _refuse(*(("fix", "imgsz") if of_manifest else _OF_MANIFESTS), of_manifest=of_manifest)
    named = ", ".join(path.name for path in paths)
    with progress(f"checking {named}") as listen:
        if of_manifest:
            from deploytk.stages.manifest_check import check as of_rows

            kept = {name: more[name] for name in _OF_MANIFESTS}
            report = of_rows(paths, deep=not quick, jobs=jobs, out=out, listen=listen, **kept)
        else:
            from deploytk.stages.data_check import check as of_folder

            kept = {name: more[name] for name in ("imgsz", "fix")}
            report = of_folder(paths[0], deep=not quick, jobs=jobs, out=out, listen=listen, **kept)
    if out is not None:
        say_last(f"report: {render.write(report, out)['html']}")
    return report


def _is_manifest(paths: tuple[Path, ...]) -> bool:
    """Whether the arguments are CSV files.

    Raises:
        InputError: they are of both kinds, or more than one dataset.
    """
    csv = [path.suffix.lower() == ".csv" for path in paths]
    if len(paths) > 1 and not all(csv):
        other = paths[csv.index(False)]
        raise InputError(f"{other}: several files are checked together only where each is a manifest (.csv)")
    return csv[0]


def _refuse(*names: str, of_manifest: bool) -> None:
    """Nothing, where none of the options was given.

    Raises:
        InputError: one was, which says nothing of this kind of dataset.
    """
    context = click.get_current_context()
    options = {option.name: option.opts[0] for option in context.command.params}
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            instead = {"fix": "; use --remove-corrupt", "remove": "; use --fix"}.get(name, "")
            kind = "a manifest" if of_manifest else "manifests alone"
            said = f"is not for {kind}" if of_manifest else f"is for {kind}"
            raise InputError(f"{options[name]} {said}{instead}")
