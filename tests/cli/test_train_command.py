"""`deploytk train`: its words and options, a training stopped by Ctrl-C, the commands below it."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from deploytk.cli import train as commands
from deploytk.cli.main import cli
from deploytk.errors import InputError
from deploytk.training import state as states
from deploytk.training.state import Folder

Faults = Callable[[str], None]
PROFILE = "name: tiny\nbackend: toy\ntrain: {epochs: 6, imgsz: 64, batch: 16, lr0: 0.005, device: cpu}\n"


def deploytk(*args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, [*args, "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


@click.command()
@click.argument("name")
def below(name: str) -> None:
    """Say hello."""
    click.echo(f"hello {name}")


def test_help_shows_options_and_the_commands_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.BELOW, "sweep-lr", (f"{__name__}:below", "Find a learning rate."))
    shown = CliRunner().invoke(cli, ["train", "--help"]).stdout
    for word in ("PROFILE", "--resume", "--restart", "--mode", "sweep-lr", "Find a learning rate."):
        assert word in shown
    assert "--profile" not in shown


def test_a_word_of_the_table_is_a_command_and_any_other_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.BELOW, "sweep-lr", (f"{__name__}:below", "Find a learning rate."))
    assert CliRunner().invoke(cli, ["train", "sweep-lr", "you"]).stdout == "hello you\n"
    assert "Usage: cli train sweep-lr [OPTIONS] NAME" in CliRunner().invoke(cli, ["train", "sweep-lr", "--help"]).stdout
    code, told = deploytk("train", "npu-levl4-relu")
    assert (code, "did you mean 'npu-level4-relu'?" in told["reasons"][0]) == (2, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Missing argument 'PROFILE'"),
        (["tiny", "--profile", "tiny"], "two profiles"),
        (["tiny", "--resume", "--restart"], "give one of them"),
        (["tiny", "--mode", "smoke", "--restart"], "no training to restart"),
        (["tiny", "--resume"], "no training to resume here"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_nothing_written(here: Path, args: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["train", *args])
    assert (done.exit_code, said in done.output) == (2, True)
    assert [p.name for p in here.iterdir()] == ["tiny.yaml"]


@pytest.mark.usefixtures("here")
def test_the_older_spelling_still_works() -> None:
    assert deploytk("train", "--profile", "tiny", "--mode", "validate")[0] == 0
    assert deploytk("train", "tiny", "--mode", "validate")[0] == 0


@pytest.mark.usefixtures("here")
def test_a_failed_training_is_exit_7_and_the_command_it_names_goes_on(toy: Faults) -> None:
    toy("crash@3*")
    code, told = deploytk("train", "tiny", "--out", "run")
    assert (code, told["verdict"]) == (7, "fail")
    assert len(told["reasons"]) == 3
    toy("")
    named = told["reasons"][2].removeprefix("go on with: deploytk ").split(";")[0]
    code, told = deploytk(*named.split())
    assert (code, told["verdict"]) == (0, "pass")
    assert "resumed at epoch 3" in told["reasons"][-1]


@pytest.mark.usefixtures("here")
def test_ctrl_c_is_exit_130_and_the_same_command_goes_on(toy: Faults) -> None:
    toy("slow=0.2")
    argv = [sys.executable, "-m", "deploytk.cli.main", "train", "tiny", "--out", "run"]
    # A shell's background job ignores SIGINT, and its children with it.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(argv, preexec_fn=heard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not Path("run/training/checkpoints/epoch_0001.pt").exists():
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, "Traceback" in err) == (130, False)
    assert "the same command goes on" in err
    state = states.read(Folder(run=Path("run")))
    assert state is not None
    assert state.status == "running"
    toy("")
    code, told = deploytk("train", "tiny", "--out", "run")
    assert code == 0
    assert "resumed at epoch" in told["reasons"][-1]
    assert Path("run/model.pt").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("flags", "how"), [([], "auto"), (["--restart"], "restart"), (["--resume"], "resume")])
def test_run_trains_as_it_is_told(monkeypatch: pytest.MonkeyPatch, flags: list[str], how: str) -> None:
    def train(*_args: Any, how: str) -> None:
        raise InputError(f"told to {how}")

    monkeypatch.setattr("deploytk.stages.run.train", train)
    assert deploytk("run", "tiny", *flags)[1]["reasons"] == [f"told to {how}"]
