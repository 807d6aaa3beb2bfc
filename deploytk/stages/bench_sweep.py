"""The sweep over batch sizes: screen them upwards, then sample the ones in question in blocks spread over time."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from deploytk.budget import Budget, Verdict
from deploytk.judge import judge, samples_needed
from deploytk.measurement import Status
from deploytk.stages.bench_process import BatchProcess
from deploytk.worker import Listener

#: A block is short: what lasts longer than a block is then seen by several of them (docs/verdict.md).
CALLS = 5
BLOCK_S = 1.0  # slow models get fewer calls per block
SCREEN_BLOCKS = 3
#: A series is judged after this many rounds (one block each), twice and four times as many, and before that once,
#: after a quarter of them, whether it has failed already: a slow batch size would take the time of the others.
ROUNDS = 60
LOOKS = 4
#: A round lasts at least this long, so that fast models are not measured within one blink of the machine.
ROUND_S = 0.1
#: These say nothing about the model's latency.
UNPROVEN = ("timeout", "not_run")
_SCREEN_SHARE = 0.5  # of the time limit: the rest is for the samples that decide


def look_after(rounds: int) -> list[int]:
    """After how many rounds a series is judged; at the first of them it can only fail."""
    return [rounds // 4, rounds, 2 * rounds, 4 * rounds]


@dataclass(kw_only=True)
class Point:
    """One batch size while it is being measured."""

    batch: int
    process: BatchProcess | None = None
    status: Status = "ok"
    reason: str = ""
    verdict: Verdict | None = None
    samples: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    warmup: list[float] = field(default_factory=list)
    load_ms: float | None = None
    peak_rss_mb: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    command: str = ""

    @property
    def open(self) -> bool:
        """Whether more samples can and should be taken."""
        return self.process is not None and self.verdict is None

    def ask(self, timeout_s: float, **command: Any) -> bool:
        """Whether the child answered with a result; what it said is kept."""
        assert self.process
        said = self.process.ask(command, timeout_s=timeout_s)
        self.peak_rss_mb = said.get("peak_rss_mb") or self.peak_rss_mb
        if "status" in said:
            self.end(said["status"], said["reason"])
            return False
        self.load_ms = said.get("load_ms", self.load_ms)
        self.details |= said.get("details", {})
        self.warmup += said.get("warmup_ms", [])
        if "samples_ms" in said:
            self.samples += said["samples_ms"]
            self.blocks.append(len(said["samples_ms"]))
            self.warmup += said["lead_ms"]
        return True

    def end(self, status: Status, reason: str) -> None:
        """Close with a result that is not samples."""
        self.status, self.reason = status, reason
        self.decide(Verdict(status="inconclusive" if status in UNPROVEN else "fail", reasons=(reason,)))

    def decide(self, verdict: Verdict) -> None:
        """Keep the verdict and end the child, whose memory and cores the others need."""
        self.verdict = verdict
        if self.process:
            self.process.close()
            self.process = None

    def calls(self) -> int:
        """How many calls a block of this batch size has."""
        typical = median(self.samples or self.warmup[-CALLS:] or [1.0])
        return max(2, min(CALLS, int(1000 * BLOCK_S / typical)))


class Sweep:
    """All batch sizes of one model under one budget and one time limit."""

    def __init__(self, spec: dict[str, Any], budget: Budget, time_limit_s: float, logs: Path) -> None:
        self.spec, self.budget, self.time_limit_s, self.logs = spec, budget, time_limit_s, logs
        self.began = time.monotonic()
        self.points: list[Point] = []

    @property
    def left_s(self) -> float:
        """What is left of the time limit."""
        return self.time_limit_s - (time.monotonic() - self.began)

    def judged(self, point: Point) -> Verdict:
        """The verdict on the samples so far; some of the confidence pays for the other looks."""
        return judge(point.samples, point.blocks, self.budget, point.batch, looks=LOOKS)

    def screen(self, batches: Sequence[int], listen: Listener | None) -> None:
        """Open and screen the batch sizes upwards, until one misses the budget, memory or half of the time is gone."""
        stop = ""
        for done, batch in enumerate(batches):
            if listen:
                listen({"done": done, "total": len(batches), "text": f"screening batch {batch}"})
            point = Point(batch=batch)
            self.points.append(point)
            stop = stop or self._no_time_for_more(done, batches)
            if stop:
                point.end("not_run", stop)
                continue
            self._screen(point)
            stop = self._reason_to_stop(point)

    def sample(self, listen: Listener | None) -> None:
        """Take blocks of the open batch sizes in turn until all are decided or the time limit is reached."""
        first = max(ROUNDS, math.ceil(1.3 * samples_needed(self.budget, looks=LOOKS) / CALLS))
        looks = look_after(first)
        for done in itertools.count(1):
            asked = [p for p in self.points if p.open]
            if not asked or self.left_s <= 0:
                break
            if listen:
                text = f"sampling batch {', '.join(str(p.batch) for p in asked)}"
                listen({"done": done, "total": next((n for n in looks if n >= done), looks[-1]), "text": text})
            to_next = next((n for n in looks if n >= done), done) - done
            self._round(asked, min(ROUND_S, self.left_s / (to_next + 2)))
            if done in looks:
                self._look(failed_only=done == looks[0], last=done == looks[-1])
        self._look(last=True)

    def _no_time_for_more(self, done: int, batches: Sequence[int]) -> str:
        if done == 0 or self.left_s > self.time_limit_s * (1 - _SCREEN_SHARE):
            return ""
        return f"not run: half of the time limit of {self.time_limit_s:g} s was gone after batch {batches[done - 1]}"

    def _screen(self, point: Point) -> None:
        """Open, warm up and take the first blocks; a batch size whose fastest call misses the budget is decided."""
        process = BatchProcess({**self.spec, "batch": point.batch}, self.logs)
        point.process, point.log, point.command = process, str(process.log), process.command
        if not point.ask(self._patience_s(), do="open"):
            return
        if not point.ask(self._patience_s(), do="warm", limit_s=self.time_limit_s / 12):
            return
        for _ in range(SCREEN_BLOCKS):
            if not self._block(point):
                return
        if self._limit_ms(point) < min(point.samples):
            verdict = self.judged(point)
            if verdict.status == "fail":
                point.decide(verdict)

    def _reason_to_stop(self, point: Point) -> str:
        """Why higher batch sizes need not be tried, or the empty string."""
        if point.status == "oom":
            return f"not run: batch {point.batch} already ran out of memory"
        if point.status == "timeout":
            return f"not run: batch {point.batch} used up the time limit of {self.time_limit_s:g} s"
        missed = point.status == "ok" and point.verdict is not None and point.verdict.status == "fail"
        # Per item a larger batch may be the faster one.
        return f"not run: batch {point.batch} already misses the budget" if missed and self._whole() else ""

    def _round(self, asked: list[Point], at_least_s: float) -> None:
        """One block of each batch size in question."""
        until = time.monotonic() + at_least_s
        for point in asked:
            self._block(point)
        time.sleep(max(0.0, min(until - time.monotonic(), self.left_s)))

    def _look(self, *, last: bool, failed_only: bool = False) -> None:
        decisive = ("fail",) if failed_only else ("pass", "fail")
        for point in self.points:
            if point.open:
                verdict = self.judged(point)
                if last or verdict.status in decisive:
                    point.decide(verdict)

    def _limit_ms(self, point: Point) -> float:
        return self.budget.latency_ms * (1 if self._whole() else point.batch)

    def _whole(self) -> bool:
        return self.budget.per == "batch"

    def _block(self, point: Point) -> bool:
        """Whether a block of samples came; one begun in time may end a little after the limit."""
        calls = point.calls()
        usual_s = calls * max(point.samples or point.warmup, default=0.0) / 1000
        return point.ask(max(self.left_s, 5.0 + 10 * usual_s), do="block", calls=calls)

    def _patience_s(self) -> float:
        """How long a child may take to answer: what is left of the time limit, a second at least."""
        return max(1.0, self.left_s)


def swept(
    spec: dict[str, Any],
    batches: Sequence[int],
    budget: Budget,
    time_limit_s: float,
    logs: Path,
    listen: Listener | None,
) -> list[Point]:
    """Every batch size with its verdict; no child is left behind, whatever happens.

    Raises:
        DeploytkError: the model or its samples cannot be used at all.
    """
    sweep = Sweep(spec, budget, time_limit_s, logs)
    try:
        sweep.screen(batches, listen)
        sweep.sample(listen)
    finally:
        for point in sweep.points:
            if point.process:
                point.process.close()
    return sweep.points
