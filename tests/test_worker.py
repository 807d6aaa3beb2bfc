"""A child step: its value, its error, its crash, its time-out, each with a log and a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploytk import worker
from deploytk.errors import InputError, MissingDependency, StepFailed

#: What is tested is how they begin and end.
COLD_CHILDREN = True
ENV = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}


def call(function: str, tmp_path: Path, **kwargs: Any) -> Any:
    options = {name: kwargs.pop(name) for name in ("timeout_s", "listen", "silence_s") if name in kwargs}
    options.setdefault("timeout_s", 30.0)
    return worker.call(f"steps_for_tests:{function}", kwargs, logs=tmp_path, name="step", env=ENV, **options)


def test_value_comes_back_and_the_log_is_kept(tmp_path: Path) -> None:
    assert call("adds", tmp_path, a=2, b=3) == 5
    assert "adding 2 and 3" in (tmp_path / "step.log").read_text()


def test_an_error_of_deploytk_comes_back_as_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        call("refuses", tmp_path)
    assert caught.value.reasons == ("first", "second")


def test_an_unknown_exception_is_a_failed_step_with_log_and_command(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"step failed: ValueError: bad shape; log: .*step\.log; again: ") as caught:
        call("raises", tmp_path)
    assert caught.value.kind == "error"
    assert "Traceback" in (tmp_path / "step.log").read_text()


@pytest.mark.parametrize(
    ("function", "kind", "words"),
    [("aborts", "crash", "SIGABRT"), ("is_killed", "oom", "out of memory"), ("leaves", "crash", "exit code 3")],
)
def test_a_death_is_a_failed_step(tmp_path: Path, function: str, kind: str, words: str) -> None:
    with pytest.raises(StepFailed, match=words) as caught:
        call(function, tmp_path)
    assert caught.value.kind == kind


def test_a_timeout_kills_the_child_and_its_children(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"stopped after 1\.5 s") as caught:
        call("hangs_with_a_child", tmp_path, pid_file=str(tmp_path / "pid"), timeout_s=1.5)
    assert caught.value.kind == "timeout"
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_missing_library_says_which_extra_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"no_such_library is not installed"):
        call("needs_a_missing_library", tmp_path)


def test_events_reach_the_listener(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    call("tells", tmp_path, listen=seen.append)
    assert seen == [{"done": i, "total": 3} for i in range(3)]


def test_the_printed_command_repeats_the_step(tmp_path: Path) -> None:
    with pytest.raises(StepFailed) as caught:
        call("aborts", tmp_path)
    again = subprocess.run(
        caught.value.command, shell=True, env={**os.environ, **ENV}, capture_output=True, check=False
    )
    assert again.returncode in (-signal.SIGABRT, 128 + signal.SIGABRT)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_killed_parent_leaves_no_child_behind(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from deploytk import worker; worker.call('steps_for_tests:hangs_with_a_child', "
        f"{{'pid_file': {str(tmp_path / 'pid')!r}}}, logs=Path({str(tmp_path)!r}), name='s', timeout_s=60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **ENV})
    deadline = time.monotonic() + 30
    while not (tmp_path / "parent").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int((tmp_path / "parent").read_text())
    parent.kill()
    parent.wait()
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(child)
    subprocess.run(["kill", "-9", (tmp_path / "pid").read_text()], check=False, capture_output=True)


def test_a_child_whose_parent_died_before_it_could_ask_to_die_with_it_does_nothing(tmp_path: Path) -> None:
    call("adds", tmp_path, a=2, b=3)
    argv = [sys.executable, "-m", "deploytk.worker", str(tmp_path / "step.task.json")]
    (tmp_path / "step.result.json").unlink()
    orphan = subprocess.run(argv, env={**os.environ, **ENV, "DEPLOYTK_PARENT": "1"}, capture_output=True, check=False)
    assert (orphan.returncode, (tmp_path / "step.result.json").exists()) == (1, False)
    by_hand = subprocess.run(argv, env={**os.environ, **ENV}, capture_output=True, check=False)
    assert (by_hand.returncode, (tmp_path / "step.result.json").exists()) == (0, True)


def test_a_child_that_falls_silent_in_a_phase_is_stopped_and_the_phase_is_named(tmp_path: Path) -> None:
    limits = {"load": 30.0, "first_step": 0.5}
    with pytest.raises(StepFailed, match=r"0\.5 s without a sign of life in phase first_step") as failed:
        call("falls_silent", tmp_path, timeout_s=60, silence_s=limits)
    assert failed.value.kind == "timeout"


def test_a_child_that_keeps_talking_may_take_longer_than_a_phase_may_be_silent(tmp_path: Path) -> None:
    limits = {"load": 30.0, "first_step": 1.0}
    assert call("keeps_talking", tmp_path, timeout_s=60, silence_s=limits) == "done"
