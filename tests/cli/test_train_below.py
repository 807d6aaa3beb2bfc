"""`deploytk train sweep-lr` and `deploytk train crossover`: their words, their errors, their ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploytk.cli.main import cli

pytestmark = pytest.mark.usefixtures("here")
Faults = Callable[[str], None]
PROFILE = "name: tiny\nbackend: toy\ntrain: {epochs: 6, imgsz: 64, batch: 16, device: cpu}\n"


def deploytk(*args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["train", *args, "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


def test_a_sweep_ends_with_the_patch_and_the_same_command_trains_nothing_again(here: Path) -> None:
    words = ["sweep-lr", "tiny", "--from", "1e-4", "--to", "100", "--points", "4", "--jobs", "3"]
    code, told = deploytk(*words)
    found = told["sections"]["sweep"]
    assert (code, told["command"], found["epochs"], found["recommended"]) == (0, "train sweep-lr", 3, 0.01)
    out = here / "runs" / "tiny-sweep"
    assert sorted(p.name for p in out.glob("lr-*")) == [
        "lr-0.0001",
        "lr-0.01",
        "lr-1",
        "lr-100",
        "lr-sweep.json",
        "lr-sweep.png",
    ]
    trained = (out / "lr-0.01" / "model.pt").stat().st_mtime_ns
    shown = CliRunner().invoke(cli, ["train", *words])
    assert "In the profile: train: {lr0: 0.01}" in shown.stdout
    assert shown.stderr.strip().endswith(f"{out / 'report.html'}, {out / 'lr-sweep.png'}")
    assert (out / "lr-0.01" / "model.pt").stat().st_mtime_ns == trained


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "1", "--to", "1e-4"], "from a smaller to a larger"),
        (["--points", "1"], "1 is not in the range"),
        (["--from", "nan"], "nan is not a number"),
        (["--resume", "--restart"], "give one of them"),
        (["--imgsz", "31"], "31 is not in the range"),
    ],
)
def test_a_wrong_sweep_is_told_and_nothing_written(here: Path, words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["train", "sweep-lr", "tiny", *words])
    assert (done.exit_code, said in done.stderr + str(done.exception) + done.output) == (2, True)
    assert [p.name for p in here.iterdir()] == ["tiny.yaml"]


def test_an_optimizer_that_decides_by_itself_cannot_be_swept(here: Path) -> None:
    (here / "auto.yaml").write_text(PROFILE.replace("batch: 16", "batch: 16, optimizer: auto"))
    code, told = deploytk("sweep-lr", "auto.yaml")
    assert (code, "name one: train: {optimizer: AdamW}" in told["reasons"][0]) == (2, True)


def test_a_crossover_of_a_finished_run(here: Path) -> None:
    assert deploytk("tiny", "--out", "run")[0] == 0
    code, told = deploytk("crossover", "run")
    assert (code in {0, 4}, told["command"]) == (True, "train crossover")
    assert told["sections"]["crossover"]["parts"]["choosing"] == 48
    shown = CliRunner().invoke(cli, ["train", "crossover", "run", "--modules", "all=near+far+bias", "--out", "other"])
    assert shown.exit_code in {0, 4}
    assert "Side by side" in shown.stdout
    assert (here / "other" / "sweetspots.txt").read_text().startswith("all: peak accuracy")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "no such run folder"),
        (["none", "--modules", "backbone"], "write NAME=PREFIX"),
        ([], "Missing argument 'RUN'"),
    ],
)
def test_a_wrong_crossover_is_told(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["train", "crossover", *words])
    assert (done.exit_code, said in done.stderr + done.output) == (2, True)


def test_help_lists_both_and_theirs_imports_nothing_heavy() -> None:
    assert {"train sweep-lr", "train crossover"} <= {
        line.strip().split("  ")[0] for line in CliRunner().invoke(cli, ["train", "--help"]).stdout.splitlines()
    }
    for name in ("sweep-lr", "crossover"):
        code = (
            "import sys\nfrom deploytk.cli.main import cli\n"
            f"try:\n    cli.main(['train', '{name}', '--help'], standalone_mode=False)\nexcept SystemExit:\n    pass\n"
            "print([m for m in ('torch', 'numpy', 'pydantic', 'matplotlib', 'rich') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip().splitlines()[-1] == "[]"
