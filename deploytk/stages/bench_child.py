"""The process in which one batch size is measured: `python -m deploytk.stages.bench_child SPEC.json`.

It reads one JSON command per line on stdin and answers with one JSON line on stdout:

    {"do": "open"}               load_ms, inputs, details
    {"do": "warm", "limit_s": 5} first_ms and warmup_ms, after the outputs have been looked at
    {"do": "block", "calls": 5}  samples_ms, lead_ms (calls before them that are no samples), and what the block used

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploytk import plugins, timing, usage
from deploytk.artifact import versions_of
from deploytk.errors import BY_NAME, DeploytkError, InputError
from deploytk.runtimes import FixedBatch, Session
from deploytk.stages.bench_inputs import Feed, feeds_for
from deploytk.stages.bench_outputs import FirstAnswers
from deploytk.worker import die_with_parent

if TYPE_CHECKING:
    from deploytk.stages.bench_end_to_end import EndToEnd
    from deploytk.stages.bench_pipeline_child import Whole
    from deploytk.stages.bench_text_child import Answers

#: What allocators of C++ runtimes say in an exception of another type.
_OUT_OF_MEMORY = ("bad_alloc", "failed to allocate memory", "out of memory", "cannot allocate memory")


#: All inputs are run once and their outputs looked at as far as that takes no longer; two in any case.
_LOOK_S = 0.5


class Wrong(Exception):
    """The outputs cannot be right; the message is the reason."""


class ModelOnly:
    """The run of the model alone, over several inputs in turn: what is measured at the boundary "model"."""

    def __init__(self, session: Session, feeds: list[Feed], batch: int) -> None:
        self.session, self.feeds, self.batch = session, feeds, batch
        self.count = len(feeds)
        self.details: dict[str, Any] = {}
        self.last_outputs: Mapping[str, np.ndarray] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """What the session knows of its last run beside the clock here (`device`); nothing before the first."""
        return tuple(self.last_ms)

    @property
    def last_ms(self) -> Mapping[str, float]:
        """The parts of the last run in ms."""
        told: Mapping[str, float] = getattr(self.session, "last_ms", {})
        return told

    def run(self, turn: int) -> Mapping[str, np.ndarray]:
        """The outputs for the input whose turn it is."""
        self.last_outputs = self.session.run(self.feeds[turn % self.count])
        return self.last_outputs

    def wrong(self) -> str:
        """Why the outputs of the last run cannot be right, as a sentence, or the empty string."""
        return timing.wrong_outputs(self.last_outputs, self.batch)


class Child:
    """One model, opened once and measured in blocks; every command is a method."""

    measured: ModelOnly | EndToEnd | Whole | Answers

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.batch = int(spec["batch"])
        self.turn = 0
        self.first = FirstAnswers()

    def open(self) -> dict[str, Any]:
        """Load the model; how long that took and what was got."""
        if self.spec["format"] == "text":
            return self._text()
        runtime = plugins.load("runtimes", self.spec["runtime"])
        if self.spec["format"] == "pipeline":
            return self._pipeline(runtime.DISTRIBUTIONS)
        if self.spec["format"] not in runtime.FORMATS:
            reads = ", ".join(runtime.FORMATS)
            raise InputError(f"the runtime {self.spec['runtime']} reads {reads}, not {self.spec['format']}")
        began = time.perf_counter_ns()
        session = runtime.open_session(
            Path(self.spec["model"]),
            batch=self.batch,
            threads=self.spec.get("threads"),
            options=self.spec.get("options") or {},
        )
        load_ms = (time.perf_counter_ns() - began) / 1e6
        self.measured, inputs = self._measured(session)
        details = dict(session.details) | {"inputs": inputs, "versions": versions_of(*runtime.DISTRIBUTIONS)}
        gc.freeze()  # what is loaded now stays: it need not be looked through before each block
        return {"load_ms": load_ms, "details": details}

    def _pipeline(self, distributions: Sequence[str]) -> dict[str, Any]:
        """Load both models of a pipeline; the same answer."""
        from deploytk.stages.bench_pipeline_child import open_whole

        whole = open_whole(self.spec)
        self.measured = whole
        details = whole.session_details | {"inputs": whole.inputs, "versions": versions_of(*distributions)}
        gc.freeze()
        return {"load_ms": whole.load_ms, "details": details}

    def _text(self) -> dict[str, Any]:
        """Load a text model; the same answer."""
        from deploytk.stages.bench_text_child import DISTRIBUTIONS, open_answers

        self.measured, load_ms = open_answers(self.spec)
        told = self.measured.model.described
        details = {
            "precision": told.precision,
            "threads": self.spec.get("threads"),
            "inputs": self.spec["inputs"],
            "versions": versions_of(*DISTRIBUTIONS[told.runtime]),
        }
        gc.freeze()
        return {"load_ms": load_ms, "details": details}

    def _measured(self, session: Session) -> tuple[ModelOnly | EndToEnd, str]:
        """(what is called inside the clock, what it is fed in words)."""
        if self.spec.get("boundary") == "end_to_end":
            from deploytk.stages.bench_end_to_end import open_end_to_end

            whole = open_end_to_end(self.spec, session)
            return whole, whole.inputs
        samples = self.spec.get("samples")
        feeds, inputs = feeds_for(session.inputs, Path(samples) if samples else None)
        return ModelOnly(session, feeds, self.batch), inputs

    def warm(self, limit_s: float, least: bool = False) -> dict[str, Any]:
        """Look at the outputs of each input once (of two where time is short), then call until steady.

        Args:
            least: one call is enough, for a batch size that is only looked at.
        """
        first_ms = 0.0
        stop_at = time.monotonic() + min(limit_s, _LOOK_S)
        for turn in range(self.measured.count):
            began = time.perf_counter_ns()
            self.measured.run(turn)
            first_ms = first_ms or (time.perf_counter_ns() - began) / 1e6
            self._look_at(turn)
            if least or (turn and time.monotonic() > stop_at):
                break
        _stop_if(self.first.same_for_all())
        warmup = [] if least else timing.warm_up(self.measured.run, limit_s=limit_s)
        return {"first_ms": first_ms, "warmup_ms": warmup, "details": self.measured.details}

    def block(self, calls: int, lead: int = 1) -> dict[str, Any]:
        """Time a block of calls after those that lead in; the last output is looked at again."""
        parts: dict[str, list[float]] = {name: [] for name in self.measured.parts}
        before = usage.used()
        at_s = time.monotonic()
        led, samples = timing.sample(
            self.measured.run,
            start=self.turn,
            calls=calls,
            lead=lead,
            after=(lambda: _split(parts, self.measured.last_ms)) if parts else None,
        )
        wall_ms = 1000 * (time.monotonic() - at_s)
        spent = usage.used().since(before)
        self.turn += lead + calls
        self._look_at(self.turn - 1)
        return {
            "samples_ms": samples,
            "lead_ms": led,
            "parts_ms": parts,
            "details": getattr(self.measured, "counts", {}),
            "at_s": at_s,
            "wall_ms": wall_ms,
            "rss_mb": usage.rss_mb(),
            **asdict(spent),
        }

    def _look_at(self, turn: int) -> None:
        """Stop where the model's own outputs of the last run, the one of `turn`, are wrong."""
        _stop_if(self.measured.wrong())
        number, outputs = turn % self.measured.count, self.measured.last_outputs
        if self.first.known(number):
            _stop_if(self.first.differs(number, outputs))
        else:
            self.first.keep(number, outputs)


def _split(parts: dict[str, list[float]], last_ms: Mapping[str, float]) -> None:
    """Keep the split of the last call."""
    for name, values in parts.items():
        values.append(last_ms[name])


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
    return said | {"peak_rss_mb": usage.peak_rss_mb()}


def _failure(error: Exception) -> dict[str, Any]:
    lines = str(error).strip().splitlines()
    told = f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]
    ran_out = isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)
    return {"status": "oom" if ran_out else "crash", "reason": told}


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
