"""`deploytk run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say, say_last
from deploytk.cli.options import Number, overrides, training
from deploytk.cli.train import going_on, how, told_how_to_go_on

if TYPE_CHECKING:
    from deploytk.profile import Profile
    from deploytk.report import Report
    from deploytk.worker import Listener


@click.command()
@click.argument("name", metavar="PROFILE")
@training
@click.option("--target", help="onnx, openvino, npu or tensorrt (default: the profile's).")
@click.option("--npu", help="NPU preset or YAML file (default: the profile's).")
@click.option("--batches", help="Batch sizes to bench: 1..64, 1..64:8 or 1,2,4 (default: the profile's).")
@click.option("--time-limit", type=Number(min=0, min_open=True), help="Seconds for each bench.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder (default runs/PROFILE).")
@going_on
@reporting
def run(name: str, out: Path | None, *, resume: bool, restart: bool, **values: Any) -> Report:
    """Train, export, bench and judge one PROFILE; what is unchanged since the last time is skipped.

    \b
    deploytk run npu-level4-relu --data DATA.yaml --out RUN
    """
    from deploytk import profile_loading
    from deploytk.report import render
    from deploytk.stages.run import run as stage

    profile = profile_loading.load(name, overrides(**values))
    folder = (out or Path("runs") / profile.name).absolute()
    wanted = how(resume=resume, restart=restart)
    with progress(profile.name) as listen, told_how_to_go_on(folder):
        if profile.parts is not None:
            from deploytk.stages.run_parts import run as both

            def of(part: str) -> Listener:
                return _followed(profile.part(part), listen)

            report = both(profile, folder, say=say, listen=listen, listeners=of, how=wanted)
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
