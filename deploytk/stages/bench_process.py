"""The parent's side of `bench_child`: one process per batch size, asked one JSON line at a time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from deploytk.errors import BY_NAME
from deploytk.files import write_json
from deploytk.worker import VERBOSE, how_it_died, show_log

#: A crash may write its memory to disk before the process is gone.
_DYING_S = 10.0


class BatchProcess:
    """A child that has one batch size open, until `close`. Its stderr and all noise are in `log`."""

    def __init__(self, spec: dict[str, Any], logs: Path) -> None:
        name = "-".join(["bench", *([spec["name"]] if spec.get("name") else []), spec["runtime"]])
        name += f"-batch{spec['batch']}"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{name}.log"
        task = logs / f"{name}.json"
        write_json(task, spec)
        argv = [sys.executable, "-m", "deploytk.stages.bench_child", str(task)]
        self.command = shlex.join([*argv, "--repeat"])
        self._read = b""
        self._ended = threading.Event()
        with self.log.open("wb") as noise:
            noise.write(f"$ {self.command}\n".encode())
            noise.flush()
            self._child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, start_new_session=True
            )
        if os.environ.get(VERBOSE):
            threading.Thread(target=show_log, args=(self.log, self._ended), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._child.pid

    def ask(self, command: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """The child's answer; `{"status": "timeout" | "oom" | "crash", "reason": ...}` where none came.

        Raises:
            DeploytkError: the error the child met (InputError, MissingDependency).
        """
        self._signal(signal.SIGCONT)
        said = self._answer(command, timeout_s)
        # Between its blocks a child is stopped: the thread pool of an idle runtime goes on spinning, on cores that the
        # next child is being measured on (measured: p95 24 ms instead of 12 ms; bench/LOG.md).
        self._signal(signal.SIGSTOP)
        if "status" in said or "error" in said:
            self.close()
        if "error" in said:
            error = said["error"]
            raise BY_NAME[error["type"]](error["message"], reasons=tuple(error["reasons"]))
        return said

    def close(self) -> None:
        """End the child and whatever it started."""
        if self._child.returncode is None:
            self._signal(signal.SIGKILL)
            self._child.wait()
        self._ended.set()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, signal_: signal.Signals) -> None:
        """Send a signal to the child and whatever it started; once it is reaped, its id may be another process's."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal_)

    def _answer(self, command: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self._child.stdin
        try:
            self._child.stdin.write(json.dumps(command).encode() + b"\n")
            self._child.stdin.flush()
            line = self._line(time.monotonic() + timeout_s)
        except TimeoutError:
            return {"status": "timeout", "reason": f"No answer to '{command['do']}' within {timeout_s:.1f} s."}
        except (BrokenPipeError, EOFError):
            self._await_end()
            self.close()
            kind, how = how_it_died(self._child.returncode)
            return {"status": kind, "reason": f"The process {how} in '{command['do']}'."}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _await_end(self) -> None:
        """Wait until the child has ended by itself, without reaping it: `close` still ends what it started."""
        until = time.monotonic() + _DYING_S
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.01)

    def _line(self, until: float) -> bytes:
        """The next line of the child's answers."""
        assert self._child.stdout
        descriptor = self._child.stdout.fileno()
        while b"\n" not in self._read:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise EOFError
            self._read += part
        line, _, self._read = self._read.partition(b"\n")
        return line
