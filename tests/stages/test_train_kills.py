"""deploytk killed at any write of a training, a resume or a restart: run again, it ends as if nothing had been."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_training import profile

from deploytk.files import sha256_of
from deploytk.profile import Profile
from deploytk.stages import train_begin
from deploytk.stages.train import train
from deploytk.training.state import Folder

pytestmark = pytest.mark.usefixtures("toy")
Training = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in processes of its own runs in the one that is killed: all writes are its."""

    def called(function: str, kwargs: dict[str, Any], **_options: Any) -> Any:
        module, _, name = function.partition(":")
        return getattr(importlib.import_module(module), name)(**kwargs)

    monkeypatch.setattr("deploytk.worker.call", called)


def result(run: Path, epoch: int) -> tuple[str, str]:
    """The model and the last weights."""
    return sha256_of(run / "model.pt"), sha256_of(Folder(run=run).checkpoints / f"epoch_{epoch:04d}.pt")


def killed_at(number: int, training: Training, run: Path, *, done: bool) -> bool:
    """Train in a forked process that is killed at its `number`th write or removal; whether it came so far."""
    pid = os.fork()
    if not pid:
        try:
            _kill(number, done=done)
            training(run)
        finally:
            os._exit(0)  # never back into pytest
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _kill(number: int, *, done: bool) -> None:
    seen: list[Any] = []
    replace, unlink, rmtree = Path.replace, Path.unlink, shutil.rmtree

    def deadly(act: Callable[..., Any], half: Callable[[Path], None]) -> Callable[..., Any]:
        def acted(path: Path, *args: Any, **kwargs: Any) -> Any:
            seen.append(path)
            if len(seen) == number:
                if done:
                    act(path, *args, **kwargs)
                else:
                    half(path)
                os.kill(os.getpid(), signal.SIGKILL)
            return act(path, *args, **kwargs)

        return acted

    Path.replace = deadly(replace, lambda p: os.truncate(p, p.stat().st_size // 2))  # type: ignore[method-assign]
    Path.unlink = deadly(unlink, lambda _p: None)  # type: ignore[method-assign]
    shutil.rmtree = deadly(rmtree, lambda p: unlink(next(f for f in sorted(p.rglob("*")) if f.is_file())))  # type: ignore[assignment]


def at_every_write(tmp_path: Path, begin: Path | None, training: Training, again: Training, epoch: int) -> int:
    """How many writes there were; after a kill at each, `again` ends with what the whole `training` ends with."""
    whole = tmp_path / "whole"
    if begin:
        shutil.copytree(begin, whole)
    training(whole)
    writes = 0
    for done in (False, True):
        number = 1
        while True:
            run = tmp_path / f"{number}-{done}"
            if begin:
                shutil.copytree(begin, run)
            if not killed_at(number, training, run, done=done):
                break
            again(run)
            assert result(run, epoch) == result(whole, epoch), f"killed {'after' if done else 'in'} write {number}"
            assert not list(run.rglob("*.tmp*"))
            number, writes = number + 1, writes + 1
    return writes


def trains(wanted: Profile, how: train_begin.How = "auto") -> Training:
    return lambda run: train(wanted, run, how=how)


def test_a_training_killed_anywhere(tmp_path: Path) -> None:
    short = trains(profile(train={"epochs": 3}))
    assert at_every_write(tmp_path, None, short, short, 3) > 20


def test_a_resume_to_more_epochs_killed_anywhere(tmp_path: Path) -> None:
    train(profile(train={"epochs": 2}), tmp_path / "begin")
    longer = profile(train={"epochs": 4})
    assert at_every_write(tmp_path, tmp_path / "begin", trains(longer, "resume"), trains(longer, "resume"), 4) > 20


def test_a_restart_killed_anywhere(tmp_path: Path) -> None:
    train(profile(train={"epochs": 3}), tmp_path / "begin")
    other = profile(train={"epochs": 3, "lr0": 0.01})
    anew = trains(other, "restart")
    assert at_every_write(tmp_path, tmp_path / "begin", anew, anew, 3) > 20
