"""Functions that tests run in child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from deploytk import worker
from deploytk.errors import InputError


def adds(a: int, b: int) -> int:
    print(f"adding {a} and {b}")
    return a + b


def refuses() -> None:
    raise InputError("first\nsecond", reasons=("first", "second"))


def raises() -> None:
    raise ValueError("bad shape")


def aborts() -> None:
    os.abort()


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves() -> None:
    os._exit(3)


def hangs_with_a_child(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    Path(pid_file).write_text(str(child.pid))
    (Path(pid_file).parent / "parent").write_text(str(os.getpid()))
    time.sleep(60)


def needs_a_missing_library() -> None:
    import no_such_library  # noqa: F401


def tells() -> None:
    for i in range(3):
        worker.emit(done=i, total=3)


def falls_silent() -> None:
    worker.emit(event="phase", phase="first_step")
    time.sleep(60)


def keeps_talking() -> str:
    worker.emit(event="phase", phase="first_step")
    for _ in range(8):
        time.sleep(0.25)
        worker.emit(event="step")
    return "done"
