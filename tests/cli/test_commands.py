"""The command line: JSON on the last line, one sentence for each error, the README names every command."""

from __future__ import annotations

import functools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deploytk.cli.main import COMMANDS

README = Path(__file__).parents[2] / "README.md"


def deploytk(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploytk.cli.main", *args], capture_output=True, text=True, cwd=cwd, check=False
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(command: str) -> None:
    done = deploytk(command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert f"deploytk {command}" in README.read_text(encoding="utf-8")


def test_every_option_of_a_readme_command_exists() -> None:
    for line in re.findall(r"^ {4}deploytk (\S+)((?:(?!->).)*)$", README.read_text(encoding="utf-8"), re.MULTILINE):
        if line[0] not in COMMANDS:
            continue
        known = deploytk(line[0], "--help").stdout
        below = next(iter(line[1].split()), "")
        if "COMMAND [ARGS]" in known or f"{line[0]} {below} " in known:
            known += deploytk(line[0], below, "--help").stdout
        for option in re.findall(r"(--[a-z-]+)", line[1].split("#")[0]):
            assert option in known, f"deploytk {line[0]} has no {option}"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", "--profile", "npu-levl4-relu"], "did you mean 'npu-level4-relu'?"),
        (["train", "--profile", "quickstart"], "data"),
        (["train", "--profile", "quickstart", "--data", "nowhere/data.yaml"], "nowhere/data.yaml"),
        (["run", "quickstart", "--imgsz", "100", "--data", "x"], "multiple of 32"),
        (["export", "nowhere"], "no such run folder"),
        (["check", "nowhere.onnx"], "nowhere.onnx"),
        (["bench", "nowhere.onnx", "--budget", "50ms"], "nowhere.onnx"),
        (["bench", "nowhere.onnx", "--batches", "64..1"], "did you mean 1..64?"),
        (["bench", "nowhere.onnx", "--confidence", "nan"], "nan is not a number"),
        (["compare", "nowhere"], "no report here"),
        (["profiles", "show", "nowhere"], "there is no profile 'nowhere'"),
        (["run", "quickstart", "--data", "x", "--target", "npo"], "did you mean 'npu'?"),
        (["run", "quickstart", "--data", "x", "--target", "npu", "--npu", "u99"], "there is no NPU preset 'u99'"),
    ],
)
def test_wrong_input_is_exit_2_one_reason_and_nothing_written(tmp_path: Path, args: list[str], reason: str) -> None:
    done = deploytk(*args, "--json", cwd=tmp_path)
    told = document(done)
    assert (done.returncode, told["exit_code"], told["verdict"]) == (2, 2, "fail")
    assert reason in " ".join(told["reasons"])
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_schema_names_every_key_of_a_profile() -> None:
    schema = json.loads(deploytk("profiles", "schema").stdout)
    assert {"schema", "name", "model", "data", "train", "export", "bench", "budget", "extends"} <= set(
        schema["properties"]
    )


def test_show_prints_a_profile_that_loads_again(tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(deploytk("profiles", "show", "npu-level3-leaky").stdout, encoding="utf-8")
    done = deploytk("profiles", "show", str(tmp_path / "again.yaml"), "--json")
    told = document(done)
    assert (told["verdict"], told["exit_code"], told["artifact"]) == ("pass", 0, None)
    assert told["profile"]["model"]["activation"]["sections"] == ["backbone", "neck"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_for_deploytk(shell: str) -> None:
    assert "_DEPLOYTK_COMPLETE" in deploytk("completion", shell).stdout


def test_an_output_folder_under_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    done = deploytk("demo-data", "file/sub", "--train", "1", "--val", "1", "--json", cwd=tmp_path)
    assert (done.returncode, document(done)["exit_code"]) == (2, 2)
    assert document(done)["reasons"] == ["file: File exists"]


def test_ctrl_c_is_exit_130_a_document_and_no_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "deploytk.cli.main", "demo-data", "out", "--train", "100000", "--json"]
    # A shell's background job ignores SIGINT, and its children with it.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(argv, cwd=tmp_path, preexec_fn=heard, **pipes)
    try:
        while not list(tmp_path.rglob("*.jpg")):
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err
