"""`deploytk train PROFILE --matrix ...`: its words, its errors, its end."""

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

import pytest
from click.testing import CliRunner

from deploytk.cli.main import cli

pytestmark = pytest.mark.usefixtures("here")
Faults = Callable[[str], None]
PROFILE = "name: tiny\nbackend: toy\ntrain: {epochs: 2, imgsz: 64, batch: 16, lr0: 0.005, device: cpu}\n"


def deploytk(*args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["train", *args, "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("first", [["tiny"], ["--profile", "tiny"]])
def test_axes_follow_the_option_wherever_it_stands(here: Path, first: list[str]) -> None:
    code, told = deploytk(*first, "--matrix", "level=2,4", "activation=relu,leaky", "--jobs", "2", "--epochs", "1")
    assert (code, told["verdict"], told["reasons"]) == (0, "pass", ["4 of 4 variants succeeded"])
    assert [row["epochs"] for row in told["sections"]["matrix"]["rows"]] == [1, 1, 1, 1]
    assert told["sections"]["matrix"]["axes"] == {"level": ["2", "4"], "activation": ["relu", "leaky"]}
    assert (here / "runs" / "tiny-matrix" / "tiny-level4-leaky" / "model.pt").is_file()


def test_a_person_sees_both_tables_and_where_the_report_is(here: Path) -> None:
    done = CliRunner().invoke(cli, ["train", "tiny", "--matrix", "activation=relu,silu", "--out", "out"])
    for words in ("2 of 2 succeeded.", "Results", "How it went", "tiny-relu", "PASS tiny-matrix"):
        assert words in done.stdout
    assert "tiny-silu: epoch 2 of 2: loss" in done.stderr
    assert done.stderr.strip().endswith(f"report: {here / 'out' / 'report.html'}")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["activation=relu"], "activation=relu: an axis is for a --matrix; name profiles"),
        (["--jobs", "2"], "--jobs is for several trainings"),
        (["--matrix", "level=2,3", "--mode", "smoke"], "--mode smoke is for one training"),
        (["--matrix", "activaton=relu,silu"], "did you mean 'activation'?"),
        (["--matrix", "activation=relu,silu", "word"], "'word' is no axis"),
        (
            ["--matrix", "train.lr0=fast,slow", "--batch", "8"],
            "command line: train.lr0: Input should be",
        ),
        (["--matrix", "level=2,3", "--resume", "--restart"], "give one of them"),
    ],
)
def test_a_wrong_command_line_is_told_and_nothing_written(here: Path, args: list[str], said: str) -> None:
    code, told = deploytk("tiny", *args)
    assert (code, said in told["reasons"][0]) == (2, True)
    assert [p.name for p in here.iterdir()] == ["tiny.yaml"]


def test_one_that_fails_gives_the_exit_code(toy: Faults) -> None:
    toy("crash@2*")
    code, told = deploytk("tiny", "--matrix", "train.epochs=1,2")
    assert (code, told["exit_code"], told["verdict"]) == (7, 7, "fail")
    assert told["reasons"][0] == "1 of 2 variants succeeded (crash: 1)"
    toy("")
    assert deploytk("tiny", "--matrix", "train.epochs=1,2", "--resume")[0] == 0
    assert deploytk("tiny", "--matrix", "train.epochs=1,2", "--restart")[0] == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_all_of_them_and_the_same_command_goes_on(toy: Faults, jobs: str) -> None:
    toy("slow=0.2")
    words = ["tiny", "--matrix", "activation=relu,silu", "--epochs", "4", "--jobs", jobs, "--out", "out"]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    argv = [sys.executable, "-m", "deploytk.cli.main", "train", *words]
    running = subprocess.Popen(argv, preexec_fn=heard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not Path("out/tiny-relu/training/checkpoints/epoch_0001.pt").exists():
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, "Traceback" in err, "Fatal" in err) == (130, False, False)
    assert "the same command goes on" in err
    events = Path("out/tiny-relu/training/events.jsonl")
    length = events.stat().st_size
    time.sleep(0.5)
    assert events.stat().st_size == length  # nothing trains on behind our back
    toy("")
    assert deploytk(*words)[0] == 0
