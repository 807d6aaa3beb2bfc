"""The process in which one batch size is measured: `python -m deploytk.stages.bench_child SPEC.json`.

It reads one JSON command per line on stdin and answers with one JSON line on stdout:

    {"do": "open"}               load_ms, inputs, details
    {"do": "warm", "limit_s": 5} warmup_ms, after the outputs have been looked at
    {"do": "block", "calls": 5}  samples_ms, and lead_ms: calls before them that are no samples

Each answer holds peak_rss_mb. An answer `{"status": ..., "reason": ...}` is a result of the measurement (fixed_batch,
bad_output, oom, crash), one with "error" an error of deploytk's own. Everything else written goes to the log.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins, timing
from deploytk.artifact import versions_of
from deploytk.errors import BY_NAME, DeploytkError, InputError
from deploytk.runtimes import FixedBatch, Session
from deploytk.stages.bench_inputs import Feed, feeds_for
from deploytk.worker import die_with_parent

#: What allocators of C++ runtimes say in an exception of another type.
_OUT_OF_MEMORY = ("bad_alloc", "failed to allocate memory", "out of memory", "cannot allocate memory")
#: Each block is led in by calls for this long, one at least.
_LEAD_MS = 5.0


class Wrong(Exception):
    """The outputs cannot be right; the message is the reason."""


class Child:
    """One model, opened once and measured in blocks; every command is a method."""

    session: Session

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.batch = int(spec["batch"])
        self.calls = 0
        self.feeds: list[Feed] = []

    def open(self) -> dict[str, Any]:
        """Load the model; how long that took and what was got."""
        runtime = plugins.load("runtimes", self.spec["runtime"])
        if self.spec["format"] not in runtime.FORMATS:
            reads = ", ".join(runtime.FORMATS)
            raise InputError(f"the runtime {self.spec['runtime']} reads {reads}, not {self.spec['format']}")
        began = time.perf_counter_ns()
        self.session = runtime.open_session(
            Path(self.spec["model"]), batch=self.batch, threads=self.spec.get("threads")
        )
        load_ms = (time.perf_counter_ns() - began) / 1e6
        samples = self.spec.get("samples")
        self.feeds, inputs = feeds_for(self.session.inputs, Path(samples) if samples else None)
        details = dict(self.session.details) | {"inputs": inputs, "versions": versions_of(*runtime.DISTRIBUTIONS)}
        gc.freeze()  # what is loaded now stays: it need not be looked through before each block
        return {"load_ms": load_ms, "details": details}

    def warm(self, limit_s: float) -> dict[str, Any]:
        """Look at the outputs of each input (of two at least) once, then call until steady."""
        outputs: list[dict[str, np.ndarray]] = []
        stop_at = time.monotonic() + limit_s
        for feed in self.feeds:
            outputs.append(dict(self.session.run(feed)))
            _stop_if(timing.wrong_outputs(outputs[-1], self.batch))
            if len(outputs) >= 2 and time.monotonic() > stop_at:
                break
        _stop_if(timing.same_for_all(outputs))
        return {"warmup_ms": timing.warm_up(self.session.run, self.feeds, limit_s=limit_s)}

    def block(self, calls: int) -> dict[str, Any]:
        """Time a block of calls after those that lead in; the last output is looked at again."""
        lead, samples, outputs = timing.sample(
            self.session.run, self.feeds, start=self.calls, calls=calls, lead_ms=_LEAD_MS
        )
        self.calls += calls
        _stop_if(timing.wrong_outputs(outputs, self.batch))
        return {"samples_ms": samples, "lead_ms": lead}


def _stop_if(reason: str) -> None:
    if reason:
        raise Wrong(reason)


def answer(child: Child, command: dict[str, Any]) -> dict[str, Any]:
    """The answer to one command; no exception leaves it."""
    wanted = dict(command)
    try:
        said: dict[str, Any] = getattr(child, wanted.pop("do"))(**wanted)
    except FixedBatch as error:
        said = {"status": "fixed_batch", "reason": f"{error}."}
    except Wrong as error:
        said = {"status": "bad_output", "reason": str(error)}
    except DeploytkError as error:
        kind = type(error).__name__ if type(error).__name__ in BY_NAME else DeploytkError.__name__
        said = {"error": {"type": kind, "message": error.message, "reasons": error.reasons}}
    except Exception as error:  # whatever a runtime raises is this measurement's result
        traceback.print_exc()
        said = _failure(error)
    return said | {"peak_rss_mb": peak_rss_mb()}


def _failure(error: Exception) -> dict[str, Any]:
    lines = str(error).strip().splitlines()
    told = f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]
    ran_out = isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)
    return {"status": "oom" if ran_out else "crash", "reason": told}


def peak_rss_mb() -> float | None:
    """The largest resident memory of this process so far, in MB (10^6 bytes); None where Linux does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((row for row in status.splitlines() if row.startswith("VmHWM:")), None)
    return int(line.split()[1]) * 1024 / 1e6 if line else None


def main(spec: Path) -> int:
    """Answer commands until stdin ends."""
    # A runtime's own prints must not come between the answers: its stdout is the log too.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    child = Child(json.loads(spec.read_text(encoding="utf-8")))
    for line in sys.stdin:
        answers.write(json.dumps(answer(child, json.loads(line))) + "\n")
        answers.flush()
    return 0


def repeat(spec: Path) -> int:
    """Measure a few blocks without a parent and print the answers: the command a user can repeat."""
    child = Child(json.loads(spec.read_text(encoding="utf-8")))
    for command in ({"do": "open"}, {"do": "warm", "limit_s": 5.0}, *({"do": "block", "calls": 5},) * 10):
        said = answer(child, command)
        print(json.dumps(said), flush=True)
        if "status" in said or "error" in said:
            return 1
    return 0


if __name__ == "__main__":
    if "--repeat" in sys.argv:
        sys.exit(repeat(Path(sys.argv[1])))
    die_with_parent()
    sys.exit(main(Path(sys.argv[1])))
