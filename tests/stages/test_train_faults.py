"""Faults in real processes: each ends in the right state, says what happened, and loses nothing that was finished."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_training import profile

from deploytk.errors import TrainingFailed
from deploytk.files import sha256_of
from deploytk.stages import train_child
from deploytk.stages.train import train
from deploytk.training import deaths
from deploytk.training import state as states
from deploytk.training.events import read
from deploytk.training.state import Folder, State

Faults = Callable[[str], None]


@pytest.fixture
def calm(toy: Faults, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """The toy backend, on a machine whose kernel kills nothing meanwhile."""
    monkeypatch.setattr(deaths.Memory, "ran_out", lambda _self: "")
    return toy


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sha256 of the last weights of a training to which nothing happens."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(Path(__file__).parents[1] / "toy_backend")
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
        run = tmp_path_factory.mktemp("whole") / "run"
        train(profile(), run)
        assert last_of(run) != last_of(run, 5)  # it learns to the end
        return last_of(run)


def last_of(run: Path, epoch: int = 6) -> str:
    """The sha256 of an epoch's checkpoint."""
    return sha256_of(Folder(run=run).checkpoints / f"epoch_{epoch:04d}.pt")


def endings(run: Path) -> list[str]:
    state = states.read(Folder(run=run))
    assert state is not None
    return [s.outcome.ended if s.outcome else "cut off" for s in state.steps]


def failed(run: Path, **sections: Any) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        train(profile(**sections), run)
    state = states.read(Folder(run=run))
    assert state is not None
    assert (state.status, caught.value.exit_code) == ("failed", 7)
    return caught.value


@pytest.mark.parametrize("fault", ["kill@3", "kill-save@3", "crash@3"])
def test_a_process_that_dies_is_followed_by_another_to_the_same_weights(
    calm: Faults, tmp_path: Path, fault: str, uninterrupted: str
) -> None:
    calm(fault)
    report = train(profile(), tmp_path / "run")
    assert endings(tmp_path / "run") == ["crash" if "crash" in fault else "killed", "done"]
    assert last_of(tmp_path / "run") == uninterrupted
    assert report.verdict.reasons[0] == "trained in 2 attempts"
    assert not list(tmp_path.rglob("*.tmp*"))


def test_a_kill_for_memory_halves_the_batch(toy: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy("kill@3")
    monkeypatch.setattr(deaths.Memory, "ran_out", lambda _self: "the kernel's out-of-memory killer was at work")
    train(profile(), tmp_path / "run")
    state = states.read(Folder(run=tmp_path / "run"))
    assert state is not None
    assert [(s.segment.batch, s.segment.accumulate) for s in state.steps] == [(16, 1), (8, 2)]
    assert Folder(run=tmp_path / "run").oom_stats.is_file()


def test_memory_that_runs_out_with_an_exception_is_known_by_it(calm: Faults, tmp_path: Path) -> None:
    calm("oom-raise@3")
    train(profile(), tmp_path / "run")
    assert endings(tmp_path / "run") == ["oom", "done"]


def test_a_process_that_dies_before_its_first_checkpoint_is_a_failure(calm: Faults, tmp_path: Path) -> None:
    calm("kill@1")
    error = failed(tmp_path / "run")
    assert "SIGKILL" in error.reasons[0]
    assert "nothing is kept" in error.reasons[1]
    assert "--resume" in error.reasons[2]
    assert "deploytk diagnose" in error.reasons[2]


def test_a_crash_that_comes_again_is_a_failure_with_its_traceback_kept(
    calm: Faults, tmp_path: Path, uninterrupted: str
) -> None:
    calm("crash@3*")
    run = tmp_path / "run"
    error = failed(run)
    assert endings(run) == ["crash", "crash"]
    assert "ValueError: toy: a fault of the library in epoch 3" in error.reasons[0]
    assert "everything up to epoch 2" in error.reasons[1]
    log = (run / "errors" / "toy.log").read_text()
    for part in ("Traceback (most recent call last)", "again: ", "timeline", "crash in phase first_step", "--resume"):
        assert part in log
    with pytest.raises(TrainingFailed, match="training failed"):
        train(profile(), run)  # not tried again unasked
    calm("")
    train(profile(), run, how="resume")
    assert last_of(run) == uninterrupted


def test_nan_to_the_end_is_exit_7_with_what_is_kept(calm: Faults, tmp_path: Path) -> None:
    calm("nan@4*")
    error = failed(tmp_path / "run")
    assert "3 rollbacks did not help" in error.reasons[0]
    assert "everything up to epoch 3" in error.reasons[1]
    assert "lr x 0.001" in (tmp_path / "run" / "errors" / "toy.log").read_text()
    assert not (tmp_path / "run" / "model.pt").exists()
    report = (tmp_path / "run" / "training_report.md").read_text()
    assert "3 of 6 epochs" in report and "What happened on the way" in report
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("fault", "limits", "phase"),
    [("hang-load@0", {"load_s": 1.5}, "load"), ("hang-first-step@0", {"first_step_s": 1.0}, "first_step")],
)
def test_a_hang_is_ended_and_its_phase_is_named(
    calm: Faults, tmp_path: Path, fault: str, limits: dict[str, float], phase: str
) -> None:
    calm(fault)
    error = failed(tmp_path / "run", limits=limits)
    assert endings(tmp_path / "run") == ["timeout"]
    assert f"without a sign of life in phase {phase} (limits.{phase}_s)" in error.reasons[0]


def test_a_hang_in_a_later_epoch_goes_on_from_the_last_checkpoint(
    calm: Faults, tmp_path: Path, uninterrupted: str
) -> None:
    calm("hang@3")
    train(profile(limits={"step_s": 2.0}), tmp_path / "run")
    assert endings(tmp_path / "run") == ["timeout", "done"]
    assert last_of(tmp_path / "run") == uninterrupted


def test_the_time_for_the_whole_training_is_an_end_that_can_be_gone_on_from(calm: Faults, tmp_path: Path) -> None:
    calm("hang@3")
    error = failed(tmp_path / "run", train={"timeout_s": 3.0})
    assert "(train.timeout_s)" in error.reasons[0]
    assert endings(tmp_path / "run") == ["timeout"]
    train(profile(), tmp_path / "run", how="resume")
    assert endings(tmp_path / "run") == ["timeout", "done"]


def test_a_full_disk_says_how_much_is_free_and_keeps_all_but_the_half_file(
    calm: Faults, tmp_path: Path, uninterrupted: str
) -> None:
    calm("disk-full@4")
    run = tmp_path / "run"
    error = failed(run)
    assert "the disk is full: " in error.reasons[0]
    assert "MB are free" in error.reasons[0]
    assert "everything up to epoch 3" in error.reasons[1]
    assert not list(run.rglob("*.tmp*"))
    train(profile(), run, how="resume")
    assert last_of(run) == uninterrupted


def test_a_disk_too_full_for_the_state_itself_is_the_same_failure(
    calm: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: str
) -> None:
    calm("")
    run, write = tmp_path / "run", State.write

    def full(self: State, folder: Folder) -> None:
        if self.steps and self.steps[-1].outcome:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder.state))
        write(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(State, "write", full)
        with pytest.raises(TrainingFailed, match="the disk is full") as caught:
            train(profile(), run)
    assert "everything up to epoch 6" in caught.value.reasons[1]
    assert endings(run) == ["cut off"]
    train(profile(), run)
    assert last_of(run) == uninterrupted


def test_too_little_disk_for_one_more_checkpoint_is_said_before(
    calm: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm("")
    monkeypatch.setattr(train_child.deaths, "free_bytes", lambda _folder: 10)
    train(profile(), tmp_path / "run")
    told = [e["reason"] for e in read(Folder(run=tmp_path / "run").events) if e["event"] == "warning"]
    assert len(told) == 1
    assert "one more checkpoint needs" in told[0]


TRAINING = """
import sys
from pathlib import Path
from toy_training import profile
from deploytk.stages.train import train
train(profile(), Path(sys.argv[1]))
"""


def test_deploytk_killed_at_any_moment_goes_on_to_the_same_weights(
    calm: Faults, tmp_path: Path, uninterrupted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm("slow=0.05")  # two seconds in all
    here = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ["PYTHONPATH"]]))
    moments, run = random.Random(7), tmp_path / "run"
    events = Folder(run=run).events
    for _ in range(6):
        before = events.stat().st_size if events.exists() else 0
        parent = subprocess.Popen([sys.executable, "-c", TRAINING, str(run)], stderr=subprocess.DEVNULL)
        while parent.poll() is None and not (events.exists() and events.stat().st_size > before):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.9))
        os.kill(parent.pid, signal.SIGKILL)  # the training's own process goes with it
        parent.wait()
    calm("")
    train(profile(), run)
    assert "cut off" in endings(run)
    assert last_of(run) == uninterrupted
    assert not list(run.rglob("*.tmp*"))
