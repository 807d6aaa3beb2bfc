"""`deploytk run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say, say_last
from deploytk.cli.options import Number, overrides, training
from deploytk.cli.train import going_on, how, told_how_to_go_on
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.cli.options import Overrides
    from deploytk.profile import Profile
    from deploytk.report import Report
    from deploytk.worker import Listener


@click.command()
@click.argument("name", metavar="PROFILE", required=False)
@click.argument("more", metavar="[PROFILE]...", nargs=-1)
@click.option("--models", help="Run these text models, each for itself: kobart,qwen3-4b (as PROFILE PROFILE ...).")
@click.option(
    "--ensemble",
    type=click.Choice(["stacking", "vote", "mbr"]),
    help="Of several text models: also answer as one.",
)
@click.option("--jobs", type=click.IntRange(1), help="How many of several are trained side by side (default 1).")
@training
@click.option("--target", help="onnx, openvino, npu or tensorrt (default: the profile's).")
@click.option("--npu", help="NPU preset or YAML file (default: the profile's).")
@click.option("--batches", help="Batch sizes to bench: 1..64, 1..64:8 or 1,2,4 (default: the profile's).")
@click.option("--time-limit", type=Number(min=0, min_open=True), help="Seconds for each bench.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder (default runs/PROFILE).")
@going_on
@reporting
def run(
    name: str | None,
    more: tuple[str, ...],
    out: Path | None,
    *,
    models: str | None,
    ensemble: Any,
    jobs: int | None,
    resume: bool,
    restart: bool,
    **values: Any,
) -> Report:
    """Train, export, bench and judge PROFILE; what is unchanged since the last time is skipped.

    Of several text models each is taken as far as it comes: one that fails never stops the others.

    \b
    deploytk run npu-level4-relu --data DATA.yaml --out RUN
    deploytk run --models kobart,qwen3-4b,kullm-v2 --tiny --data PAIRS.csv --ensemble mbr --out DIR
    """
    wanted = how(resume=resume, restart=restart)
    named = [*(each for each in (name, *more) if each), *(w.strip() for w in (models or "").split(",") if w.strip())]
    if not named:
        raise InputError("Missing argument 'PROFILE': a profile's name, or a YAML file")
    if models is not None or len(named) > 1:
        return _several(list(dict.fromkeys(named)), out, overrides(**values), ensemble, jobs or 1, wanted)
    if ensemble or jobs:
        raise InputError(f"{'--ensemble' if ensemble else '--jobs'} is for several models")
    return _one(named[0], out, overrides(**values), wanted)


def _several(names: list[str], out: Path | None, given: Overrides, strategy: Any, jobs: int, wanted: Any) -> Report:
    from deploytk.cli.live import live
    from deploytk.cli.train_matrix import loaded
    from deploytk.stages.run_several import run as stage

    variants, refused = loaded(names, given)
    for variant in variants:
        if variant.profile.text is None:
            raise InputError(f"{variant.name}: of several only text models are run; train others with: deploytk train")
    folder = (out or Path("runs") / "several").absolute()
    with live({v.name: v.profile.train.epochs for v in variants}) as listeners, told_how_to_go_on(folder):
        report = stage(
            folder.name,
            variants,
            folder,
            refused=refused,
            strategy=strategy,
            say=say,
            jobs=jobs,
            how=wanted,
            listeners=listeners,
        )
    say_last(f"report: {folder / 'report.html'}")
    return report


def _one(name: str, out: Path | None, given: Overrides, wanted: Any) -> Report:
    from deploytk import profile_loading
    from deploytk.report import render
    from deploytk.stages.run import run as stage

    profile = profile_loading.load(name, given)
    folder = (out or Path("runs") / profile.name).absolute()
    with progress(profile.name) as listen, told_how_to_go_on(folder):
        if profile.parts is not None:
            from deploytk.stages.run_parts import run as both

            def of(part: str) -> Listener:
                return _followed(profile.part(part), listen)

            report = both(profile, folder, say=say, listen=listen, listeners=of, how=wanted)
        elif profile.text is not None:
            from deploytk.stages.run_text import run as of_text

            report = of_text(profile, folder, say=say, listen=_followed(profile, listen), how=wanted)
        else:
            report = stage(profile, folder, say=say, listen=_followed(profile, listen), how=wanted)
    written = render.write(report, folder)
    say_last(f"report: {written['html']}")
    return report


def _followed(profile: Profile, listen: Listener) -> Listener:
    """A listener that makes the events of a training the steps of a progress bar."""

    def heard(event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "epoch":
            listen({"done": event["epoch"], "total": profile.train.epochs, "text": f"epoch {event['epoch']}"})
        elif kind == "warning":
            say(f"warning: {event.get('reason')}")
        elif kind == "segment" and event.get("reason") != "start":
            say(f"from epoch {event['first_epoch']}: {event['reason']}")
        elif kind is None:
            listen(event)

    return heard
