"""`deploytk train PROFILE`, and the commands below it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli import train_matrix
from deploytk.cli.common import reporting, say, say_last
from deploytk.cli.live import live
from deploytk.cli.options import overrides, training
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.cli.live import Listeners
    from deploytk.profile import Profile
    from deploytk.report import Report

#: word after `train` -> (module:command, the line that help shows). Any other word is a profile.
BELOW: dict[str, tuple[str, str]] = {
    "sweep-lr": ("deploytk.cli.train_sweep:sweep_lr", "Try several learning rates, and say which to take."),
    "crossover": ("deploytk.cli.train_crossover:crossover", "Look for a better model in a run's kept checkpoints."),
}


class ProfileOrWord(click.Command):
    """A command whose first word is a profile, or the name of a command below it, imported only then."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command that `args` call."""
        if args and args[0] in BELOW:
            module, _, name = BELOW[args[0]][0].partition(":")
            below: click.Command = getattr(importlib.import_module(module), name)
            return below.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the commands below."""
        super().format_options(ctx, formatter)
        if BELOW:
            with formatter.section("Commands"):
                formatter.write_dl([(f"train {name}", text) for name, (_, text) in BELOW.items()])


def going_on(command: Any) -> Any:
    """Add `--resume` and `--restart`, which become one value `how`."""
    for flag, text in (
        ("--restart", "Remove the training that stands in the run folder, once the preflight has passed."),
        ("--resume", "Go on with it, also where it has failed or is finished (to more --epochs)."),
    ):
        command = click.option(flag, is_flag=True, help=text)(command)
    return command


def how(*, resume: bool, restart: bool) -> Any:
    """What `--resume` and `--restart` say: auto, resume or restart."""
    if resume and restart:
        raise InputError("--resume goes on with a training, --restart removes it: give one of them")
    return "resume" if resume else "restart" if restart else "auto"


@contextmanager
def told_how_to_go_on(folder: Path) -> Iterator[None]:
    """Say, where the user stops the block, that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped in {folder}: every finished epoch is kept; the same command goes on from the last one")
        raise


@click.command(cls=ProfileOrWord)
@click.argument("name", metavar="PROFILE", required=False)
@click.argument("axes", metavar="[PROFILE]...", nargs=-1)
@click.option("--profile", "named", hidden=True, help="The older spelling of PROFILE.")
@training
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The run folder (default runs/PROFILE).")
@going_on
@click.option(
    "--mode",
    type=click.Choice(["validate", "smoke", "full"]),
    default="full",
    show_default=True,
    help="validate: look at everything, train nothing. smoke: two epochs with all that is on, into OUT/smoke.",
)
@click.option(
    "--matrix",
    multiple=True,
    metavar="AXIS=A,B ...",
    help="Train each combination: level, activation, or a profile's key.",
)
@click.option("--models", help="Train these profiles, each for itself: kobart,qwen3-4b (as PROFILE PROFILE ...).")
@click.option("--jobs", type=click.IntRange(1), help="How many of several are trained side by side (default 1).")
@reporting
def train(
    name: str | None,
    named: str | None,
    out: Path | None,
    *,
    resume: bool,
    restart: bool,
    mode: str,
    axes: tuple[str, ...],
    matrix: tuple[str, ...],
    models: str | None,
    jobs: int | None,
    **values: Any,
) -> Report:
    """Train the model of PROFILE (a name, or a YAML file) into a run folder; an unfinished training goes on.

    Of several profiles each is trained for itself: one that fails, or is not there, never stops the others.

    \b
    deploytk train npu-level4-relu --data DATA.yaml --epochs 3 --imgsz 320 --out RUN
    deploytk train npu-level4-relu --data DATA.yaml --epochs 9 --imgsz 320 --out RUN --resume
    deploytk train npu-silu --data DATA.yaml --matrix level=2,3,4 activation=relu,leaky --out DIR
    deploytk train kobart qwen3-4b solar-10.7b --data PAIRS.csv --out DIR
    deploytk train --models kobart,qwen3-4b,kullm-v2 --tiny --data PAIRS.csv --out DIR
    """
    from deploytk import profile_loading

    if name and named and matrix:  # the older spelling: the first word is an axis then
        axes, name = (name, *axes), None
    wanted = how(resume=resume, restart=restart)
    several = _several(name, axes, models, matrix)
    if several:
        if mode != "full":
            raise InputError(f"--mode {mode} is for one training")
        return train_matrix.several(several, overrides(**values), out, jobs=jobs or 1, how=wanted)
    which = _one(name, named)
    if mode != "full" and wanted != "auto":
        raise InputError(f"--mode {mode} has no training to {wanted}")
    if _is_matrix(matrix, jobs, mode):
        given = overrides(**values)
        return train_matrix.trained(which, (*matrix, *axes), given, out, jobs=jobs or 1, how=wanted)
    profile = profile_loading.load(which, overrides(**values))
    folder = out or Path("runs") / profile.name
    with live(_epochs(profile)) as listen, told_how_to_go_on(folder):
        report = _run(mode, profile, folder.absolute(), listen, wanted)
    say_last(f"run folder: {folder}")
    return report


def _one(name: str | None, named: str | None) -> str:
    if name and named:
        raise InputError(f"two profiles: {name} and --profile {named}")
    if not (name or named):
        raise InputError("Missing argument 'PROFILE': a profile's name, or a YAML file")
    return str(name or named)


def _several(name: str | None, more: tuple[str, ...], models: str | None, matrix: tuple[str, ...]) -> list[str]:
    """The names of several profiles, in their order; nothing where one is trained, or variants of one.

    Raises:
        InputError: what is asked does not go together.
    """
    if matrix:
        if models:
            raise InputError("--matrix varies one profile, --models names several: give one of them")
        return []
    told = [each.strip() for each in (models or "").split(",") if each.strip()]
    words = [each for each in (name, *more) if each]
    if wrong := next((each for each in words if "=" in each), None):
        raise InputError(f"{wrong}: an axis is for a --matrix; name profiles")
    found = list(dict.fromkeys([*words, *told]))
    return found if models or len(found) > 1 else []


def _is_matrix(matrix: tuple[str, ...], jobs: int | None, mode: str) -> bool:
    """Whether several variants are to be trained.

    Raises:
        InputError: what is asked does not go together.
    """
    if matrix and mode != "full":
        raise InputError(f"--mode {mode} is for one training, not for a --matrix")
    if jobs and not matrix:
        raise InputError("--jobs is for several trainings")
    return bool(matrix)


def _epochs(profile: Profile) -> dict[str, int]:
    """The name of each training -> how many epochs it is to have."""
    from deploytk.profile import PART_NAMES

    if profile.parts is None:
        return {profile.name: profile.train.epochs}
    return {name: profile.part(name).train.epochs for name in PART_NAMES}


def _run(mode: str, profile: Profile, folder: Path, listen: Listeners, wanted: Any) -> Report:
    if profile.parts is not None:
        from deploytk.stages import train_parts

        if mode == "full":
            return train_parts.train(profile, folder, listen, how=wanted)
        return train_parts.look(mode, profile, folder, listen)
    if mode == "full":
        from deploytk.stages.train import train as stage

        return stage(profile, folder, listen(profile.name), how=wanted)
    from deploytk.stages import train_modes

    if mode == "validate":
        return train_modes.validate(profile, folder)
    return train_modes.smoke(profile, folder, listen(profile.name))
