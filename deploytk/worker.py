"""Run one step in a child process: its own log, a timeout, progress events, and a command that repeats it.

The parent calls `call("package.module:function", kwargs, ...)`. The child (`python -m deploytk.worker TASK.json`)
imports the function, runs it and writes its JSON-like result. A crash, an out-of-memory kill and a timeout come back
as `StepFailed` with the log's path; an error of deploytk's own comes back as itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired
from typing import Any

from deploytk.errors import BY_NAME, MissingDependency, StepFailed, StepFailure
from deploytk.files import write_json

Listener = Callable[[dict[str, Any]], None]

_EVENTS_FD = "DEPLOYTK_EVENTS_FD"
_PARENT = "DEPLOYTK_PARENT"
#: Set in the environment (by `-v`): what children write to their logs is shown on stderr too.
VERBOSE = "DEPLOYTK_VERBOSE"
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def call(
    function: str,
    kwargs: Mapping[str, Any],
    *,
    logs: Path,
    name: str,
    timeout_s: float,
    listen: Listener | None = None,
    env: Mapping[str, str] | None = None,
    silence_s: Mapping[str, float] | None = None,
) -> Any:
    """What `function(**kwargs)` returns when run in a child process.

    Args:
        function: "package.module:function"; takes and returns JSON-like values.
        logs: folder for `<name>.task.json`, `<name>.log` and `<name>.result.json`.
        timeout_s: after this many seconds the child and its children are killed.
        listen: called with each event the child emits (`emit`).
        env: environment variables set for the child on top of this process's.
        silence_s: phase -> after how many seconds without an event the child is killed in it. The child begins a
            phase by `emit(event="phase", phase=name)`, and is in the first of the mapping before; a phase that is not
            in the mapping has no limit of its own.

    Raises:
        StepFailed: crash, out of memory, timeout, or an exception that deploytk does not know.
        DeploytkError: the error the child raised.
    """
    logs.mkdir(parents=True, exist_ok=True)
    task, log, result = (logs / f"{name}.{end}" for end in ("task.json", "log", "result.json"))
    write_json(task, {"function": function, "kwargs": dict(kwargs)})
    result.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "deploytk.worker", str(task)]
    pulse = _Pulse(silence_s or {}, listen)
    code, timed_out = _run(argv, log=log, timeout_s=timeout_s, pulse=pulse, env=env or {})
    command = shlex.join(argv)
    where = f"; log: {log}; again: {command}"
    if timed_out:
        cause = f"stopped after {timed_out}"
        raise StepFailed(f"{name} was {cause}{where}", kind="timeout", log=str(log), command=command, cause=cause)
    if not result.exists():
        kind, how = how_it_died(code)
        dead = {"log": str(log), "command": command, "cause": how}
        raise StepFailed(f"{name} {how}{where}", kind=kind, signal=max(0, -code), **dead)
    said = json.loads(result.read_text(encoding="utf-8"))
    if "error" in said:
        error = BY_NAME[said["error"]["type"]]
        raise error(said["error"]["message"], reasons=tuple(said["error"]["reasons"]))
    if "crash" in said:
        crashed: StepFailure = "oom" if said["crash"].startswith("MemoryError") else "error"
        told = {"log": str(log), "command": command, "cause": said["crash"]}
        raise StepFailed(f"{name} failed: {said['crash']}{where}", kind=crashed, **told)
    return said["value"]


@contextlib.contextmanager
def log_folder(out: Path | None, command: str) -> Iterator[Path]:
    """`out`, or a temporary folder that stays only where a failed step left its log in it."""
    if out is not None:
        yield out
        return
    folder = Path(tempfile.mkdtemp(prefix=f"deploytk-{command}-"))
    try:
        yield folder
    except StepFailed:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def how_it_died(code: int) -> tuple[StepFailure, str]:
    """(kind, words) for the exit code of a child that left no result."""
    if code == -signal.SIGKILL:
        return "oom", "was killed (SIGKILL: usually out of memory)"
    if code < 0:
        return "crash", f"crashed ({signal.Signals(-code).name})"
    return "crash", f"ended with exit code {code} and no result"


def emit(**event: Any) -> None:
    """Tell the parent something (`done=3, total=10, text="epoch 3"`); nothing happens without a parent that listens."""
    descriptor = os.environ.get(_EVENTS_FD)
    if descriptor:
        with contextlib.suppress(OSError):
            os.write(int(descriptor), (json.dumps(event, default=str) + "\n").encode())


def unheard() -> None:
    """Have `emit` say nothing: this process was started by a child, and the parent's pipe is not open in it."""
    os.environ.pop(_EVENTS_FD, None)


class _Pulse:
    """The signs of life of a child: its phase, and when it last said something."""

    def __init__(self, silence_s: Mapping[str, float], listen: Listener | None) -> None:
        self.silence_s, self.listen = silence_s, listen
        self.phase = next(iter(silence_s), "")
        self.last = time.monotonic()

    def heard(self, event: dict[str, Any]) -> None:
        """Note an event and pass it on."""
        self.last = time.monotonic()
        if event.get("event") == "phase":
            self.phase = str(event.get("phase"))
        if self.listen is not None:
            self.listen(event)

    def stopped(self) -> str:
        """How long the child has been silent in which phase where that is too long, else the empty string."""
        limit = self.silence_s.get(self.phase)
        if limit is None or time.monotonic() - self.last < limit:
            return ""
        return f"{limit:g} s without a sign of life in phase {self.phase}"


def _run(argv: list[str], *, log: Path, timeout_s: float, pulse: _Pulse, env: Mapping[str, str]) -> tuple[int, str]:
    """(exit code, after what it was stopped or "") of a child whose stdout and stderr go to `log`."""
    reader, writer = os.pipe()
    with log.open("wb") as stream:
        stream.write(f"$ {shlex.join(argv)}\n".encode())
        stream.flush()
        child = Popen(
            argv,
            stdin=DEVNULL,
            stdout=stream,
            stderr=STDOUT,
            start_new_session=True,
            pass_fds=(writer,),
            env={**os.environ, **env, _EVENTS_FD: str(writer), _PARENT: str(os.getpid())},
        )
        os.close(writer)
        thread = threading.Thread(target=_forward, args=(reader, pulse.heard), daemon=True)
        thread.start()
        ended = threading.Event()
        if os.environ.get(VERBOSE):
            threading.Thread(target=show_log, args=(log, ended), daemon=True).start()
        started, timed_out = time.monotonic(), ""
        try:
            if _waited(child, started + timeout_s, pulse):
                timed_out = pulse.stopped() or f"{timeout_s:g} s"
        finally:
            # Also on Ctrl-C: the whole process group goes, so that nothing writes on behind our back.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            ended.set()
        thread.join(timeout=2)
        stream.write(f"\n[exit code {child.returncode} after {time.monotonic() - started:.1f} s]\n".encode())
    return child.returncode, timed_out


def _waited(child: Popen[bytes], until: float, pulse: _Pulse) -> bool:
    """Whether the child is still there when its time is up, or has been silent for too long."""
    while (left := until - time.monotonic()) > 0 and not pulse.stopped():
        try:
            child.wait(timeout=min(left, 0.5) if pulse.silence_s else left)
        except TimeoutExpired:
            continue
        return False
    return True


def _forward(reader: int, listen: Listener) -> None:
    with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            with contextlib.suppress(ValueError):
                listen(json.loads(line))


def show_log(log: Path, ended: threading.Event) -> None:
    """Copy what the child writes to its log to stderr, until it has ended."""
    with log.open(encoding="utf-8", errors="replace") as stream:
        while True:
            last = ended.wait(0.2)
            sys.stderr.write(stream.read())
            if last:
                return


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux), so that a killed run leaves no writer behind."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _orphaned() -> bool:
    """Whether the parent died before `die_with_parent` was called: then the kernel will not say so any more."""
    return os.environ.pop(_PARENT, str(os.getppid())) != str(os.getppid())


def _child(task: Path) -> int:
    from deploytk.errors import DeploytkError
    from deploytk.plugins import missing

    said: dict[str, Any]
    wanted = json.loads(task.read_text(encoding="utf-8"))
    module, _, function = wanted["function"].partition(":")
    try:
        said = {"value": getattr(importlib.import_module(module), function)(**wanted["kwargs"])}
    except DeploytkError as error:
        kind = type(error) if type(error).__name__ in BY_NAME else DeploytkError
        said = {"error": {"type": kind.__name__, "message": error.message, "reasons": error.reasons}}
    except ModuleNotFoundError as error:
        traceback.print_exc()
        explained = missing(error)
        said = {
            "error": {"type": MissingDependency.__name__, "message": explained.message, "reasons": explained.reasons}
        }
    except Exception as error:  # whatever a library raises is this step's result
        traceback.print_exc()
        text = str(error).strip().splitlines()
        said = {"crash": f"{type(error).__name__}: {text[0] if text else ''}"[:500]}
    write_json(task.with_name(task.name.removesuffix(".task.json") + ".result.json"), said)
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(1 if _orphaned() else _child(Path(sys.argv[1])))
