"""`deploytk bench` of a text model, and the options that it alone has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli import bench_load
from deploytk.cli.common import progress
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.budget import Budget
    from deploytk.report import Report
    from deploytk.stages.bench_text import Asked

#: What a text model's bench gets, where nothing is said: each batch size is loaded anew.
_TIME_LIMIT_S = 600.0
_SAMPLES = 100

OPTIONS = (
    click.option("--data", type=click.Path(path_type=Path), help="Of a text model: a table of texts to answer."),
    click.option("--source-column", help="Of a text model: the column of --data that it reads."),
    click.option(
        "--tokens", type=click.IntRange(2), help="Of each answer of a text model (default: as the model ends them)."
    ),
    click.option(
        "--judged",
        type=click.Choice(["answer", "first-token", "token"]),
        help="What the budget of a text model is for (default: the whole answer of a batch).",
    ),
)
_OWN = ("data", "source_column", "tokens", "judged")
#: Options that are for other models, and why a text model has none of them.
_NOT_FOR_IT = {
    "runtime": "its runtime stands in text.json",
    "options": "its runtime's settings are those it is exported for",
    "images": "it begins with texts: --data",
    "prepare": "how texts are prepared stands in text.json",
    "trust": "its files hold no code",
    "crops": "it has no crops",
}


class CountOrFile(click.ParamType[Any]):
    """A number of texts, or a file of inputs."""

    name = "FILE|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the path of a file that is there."""
        if not isinstance(value, str):
            return value
        if value.isdecimal() and int(value) > 0:
            return int(value)
        return click.Path(path_type=Path, exists=True, dir_okay=False).convert(value, param, ctx)


def wanted(models: Sequence[Path], values: Mapping[str, Any]) -> bool:
    """Whether what is to be benched are text models.

    Raises:
        InputError: some are and some are not, or an option of text models was given without one.
    """
    found = [is_text(model) for model in models]
    if any(found) and not all(found):
        raise InputError("text models and others are not measured together: bench one after the other")
    if any(found):
        return True
    for name in _OWN:
        if values[name] is not None:
            raise InputError(f"--{name.replace('_', '-')} is for text models; this is none")
    if isinstance(values["samples"], int):
        raise InputError("--samples N is for text models; give an .npz of real inputs")
    return False


def is_text(model: Path) -> bool:
    """Whether `model` is a text model's folder, its text.json, or a run with one."""
    from deploytk.stages import text_models  # importing the options stays light

    return text_models.is_text(model)


def name_of(model: Path) -> str:
    """What a bench of it is called: the name of its run and what was made there, `kobart-int8`."""
    folder = (model.parent if model.name == "text.json" else model).absolute()
    run = next((f for f in (folder, *folder.parents) if (f / "profile.json").is_file()), None)
    return folder.name if run is None or run == folder else f"{run.name}-{folder.name}"


def run_bench(models: Sequence[Path], out: Path, values: Mapping[str, Any], budget: Budget) -> Report:
    """The report on a text model, or on several side by side."""
    from deploytk.stages import bench_text

    for option, why in _NOT_FOR_IT.items():
        if values[option]:
            flag = "option" if option == "options" else option
            raise InputError(f"--{flag} is not for a text model: {why}")
    if values["after"] != "auto":
        raise InputError("--after is not for a text model: its answers are strings")
    if bench_load.wanted(dict(values)):
        raise InputError("--scenario and --soak are not for text models, which are measured one request at a time")
    if not values["side_by_side"] and len(models) > 1:
        raise InputError("several models: add --compare, or bench one after the other")
    asked = _asked(values)
    with progress(f"bench {models[0].name}") as listen:
        if values["side_by_side"]:
            if len(models) < 2:
                raise InputError("--compare needs two models")
            return bench_text.compare(
                models, asked, budget=budget, tolerance=values["tolerance"], out=out, listen=listen
            )
        return bench_text.bench(models[0], asked, budget=budget, out=out, listen=listen)


def _asked(values: Mapping[str, Any]) -> Asked:
    from deploytk.batches import may_go_between, parse_batches
    from deploytk.stages.bench_text import Asked

    samples = values["samples"]
    if isinstance(samples, Path):
        raise InputError("--samples of a text model is a number of texts; the texts themselves: --data FILE")
    return Asked(
        data=values["data"],
        source=values["source_column"],
        samples=samples or _SAMPLES,
        tokens=values["tokens"],
        judged=values["judged"] or "answer",
        batches=parse_batches(values["batches"]),
        may_go_between=may_go_between(values["batches"]),
        threads=values["threads"],
        time_limit_s=values["time_limit"] or _TIME_LIMIT_S,
        min_samples=values["min_samples"],
        require=values["require"],
    )
