"""`deploytk train sweep-lr PROFILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import reporting, say_last
from deploytk.cli.live import live
from deploytk.cli.options import Number, overrides, training
from deploytk.cli.train import going_on, how, told_how_to_go_on

if TYPE_CHECKING:
    from deploytk.report import Report

_ABOVE_0 = Number(0, min_open=True)


@click.command()
@click.argument("name", metavar="PROFILE")
@click.option("--from", "first", type=_ABOVE_0, default=1e-5, show_default=True, help="The lowest learning rate.")
@click.option("--to", "last", type=_ABOVE_0, default=1e-2, show_default=True, help="The highest learning rate.")
@click.option("--points", type=click.IntRange(2), default=5, show_default=True, help="How many, at equal ratios.")
@training
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder (default runs/PROFILE-sweep).")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trainings side by side.")
@going_on
@reporting
def sweep_lr(
    name: str,
    first: float,
    last: float,
    points: int,
    out: Path | None,
    jobs: int,
    resume: bool,
    restart: bool,
    **values: Any,
) -> Report:
    """Train PROFILE briefly at several learning rates, and say which one to take.

    \b
    deploytk train sweep-lr npu-silu --data DATA.yaml --from 1e-5 --to 1e-2 --points 5 --epochs 6 --out DIR

    --epochs is the length of each of these trainings: a tenth of the profile's, at least 3, by default.
    Each is a run folder DIR/lr-RATE. The same command goes on where it was cut off.

    Exit codes: 0 found, 4 the best lies at an end of the range or nothing was learned, 7 none was trained to its end.
    """
    from deploytk import profile_loading
    from deploytk.stages import sweep_lr as stage
    from deploytk.stages import train_parts
    from deploytk.training import sweep

    wanted, rates = how(resume=resume, restart=restart), sweep.rates(first, last, points)
    profile = profile_loading.load(name, overrides(**values))
    train_parts.refuse_parts(profile, "a sweep is for")
    epochs = values["epochs"] or stage.default_epochs(profile)
    folder = (out or Path("runs") / f"{profile.name}-sweep").absolute()
    shown = {variant.name: epochs for variant in stage.variants(profile, rates, epochs)}
    with live(shown) as listen, told_how_to_go_on(folder):
        report = stage.sweep_lr(profile, rates, folder, epochs=epochs, jobs=jobs, how=wanted, listen=listen)
    say_last(f"report: {folder / 'report.html'}, {folder / 'lr-sweep.png'}")
    return report
