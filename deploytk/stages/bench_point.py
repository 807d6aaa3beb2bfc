"""One batch size of one model on one runtime while it is being measured, in a process of its own."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.judge import CALLS, WHOLE, Look, judge, longer, plan_for
from deploytk.measurement import Machine, Measurement, Status, percentile
from deploytk.stages.bench_process import BatchProcess
from deploytk.stages.bench_stability import leak

#: What a batch size is screened with.
SCREEN_BLOCKS = 3
#: A round lasts at least this long, so that fast models are not measured within one blink of the machine.
ROUND_S = 0.1
#: Slow models get fewer calls per block than `CALLS`.
BLOCK_S = 1.0
#: A call of at least this long needs none to lead it in: what a pause costs is little of it.
_LONG_MS = 100.0
#: A block is led in by calls for about this long, and by this many at most.
_LEAD_MS, _MOST_LEAD = 5.0, 50
#: These say nothing about the model's latency.
UNPROVEN = ("timeout", "not_run")


def in_turn(points: Sequence[Point], number: int, *, until: float) -> Iterator[Point]:
    """The points of one round, another one first each time; the rest of the round's time is waited for after the last.

    Args:
        until: no longer than to this time on the clock of time.monotonic.
    """
    next_round, first = min(time.monotonic() + ROUND_S, until), number % len(points)
    yield from (*points[first:], *points[:first])
    time.sleep(max(0.0, next_round - time.monotonic()))


@dataclass(kw_only=True)
class Point:
    """Samples and what else is known of them; `open` until a verdict is given."""

    spec: dict[str, Any]
    batch: int
    budget: Budget
    min_samples: int = 0  # nothing within the budget is decided before
    began_s: float = 0.0  # on the clock of time.monotonic
    process: BatchProcess | None = None
    status: Status = "ok"
    reason: str = ""
    verdict: Verdict | None = None
    waiting: Verdict | None = None  # found, while more samples are taken
    plan: tuple[Look, ...] = field(init=False)  # the looks; more of them where there is time left at their end
    looked: int = 0  # how many of them have been taken
    samples: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)  # of each block, those that led in included
    warmup: list[float] = field(default_factory=list)
    used: dict[str, list[float]] = field(default_factory=dict)  # of each block: at_s, wall_ms, cpu_ms ...
    parts: dict[str, list[float]] = field(default_factory=dict)
    load_ms: float | None = None
    importing_s: float = 0.0  # from the start of the process until it begins to load the model
    first_ms: float | None = None
    peak_rss_mb: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    random: Random = field(default_factory=lambda: Random(0))
    log: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        self.plan = plan_for(self.budget)

    @property
    def open(self) -> bool:
        """Whether more samples can and should be taken."""
        return self.process is not None and self.verdict is None

    @property
    def limit_ms(self) -> float:
        """What a call of this batch size may take."""
        return self.budget.latency_ms * (self.batch if self.budget.per == "item" else 1)

    @property
    def typical_ms(self) -> float | None:
        """The median call so far; None before the first."""
        seen = self.samples or self.warmup[-CALLS:]
        return median(seen) if seen else None

    @property
    def judged(self) -> list[float]:
        """What the budget is for, of each sample in ms: the whole call, or the part of it that the spec names."""
        part = self.spec.get("judged")
        return self.parts.get(part, []) if part else self.samples

    @property
    def in_blocks(self) -> list[list[float]]:
        """The samples of each block, in order."""
        ends = list(itertools.accumulate(self.blocks))
        return [self.samples[end - n : end] for end, n in zip(ends, self.blocks, strict=True)]

    def start(self, logs: Path, *, timeout_s: float, warm_s: float, least: bool = False) -> bool:
        """Open the model in its own process and warm it up; whether that worked."""
        self.process = BatchProcess({**self.spec, "batch": self.batch}, logs)
        self.log, self.command = str(self.process.log), self.process.command
        began = time.monotonic()
        opened = self.ask(timeout_s, do="open")
        if opened:
            self.importing_s = max(0.0, time.monotonic() - began - (self.load_ms or 0.0) / 1000)
        return opened and self.ask(timeout_s, do="warm", limit_s=warm_s, least=least)

    def block(self, *, timeout_s: float, calls: int | None = None, alone: bool = False) -> bool:
        """Take a block of samples; whether they came. One begun in time may end a little after the limit.

        Args:
            alone: nothing else is measured in turn with it.
        """
        calls = calls or self._calls()
        usual_s = calls * max(self.samples or self.warmup, default=0.0) / 1000
        return self.ask(max(timeout_s, 5.0 + 10 * usual_s), do="block", calls=calls, lead=self._lead(alone))

    def ask(self, timeout_s: float, **command: Any) -> bool:
        """Whether the child answered with a result; what it said is kept."""
        assert self.process
        said = self.process.ask(command, timeout_s=timeout_s)
        self.peak_rss_mb = said.get("peak_rss_mb") or self.peak_rss_mb
        if "status" in said:
            self.end(said["status"], said["reason"])
            return False
        self.load_ms = said.get("load_ms", self.load_ms)
        self.first_ms = said.get("first_ms", self.first_ms)
        self.details |= said.get("details", {})
        self.warmup += said.get("warmup_ms", [])
        if "samples_ms" in said:
            self._keep(said)
        return True

    def _keep(self, said: dict[str, Any]) -> None:
        self.samples += said["samples_ms"]
        self.blocks.append(len(said["samples_ms"]))
        self.calls.append(len(said["samples_ms"]) + len(said["lead_ms"]))
        self.warmup += said["lead_ms"]
        # What the block used is told for its samples: the calls that led in had their part of it.
        part = self.blocks[-1] / self.calls[-1]
        for name in ("wall_ms", "cpu_ms", "waited_ms", "busy_ms", "stolen_ms", "energy_j"):
            if said.get(name) is not None:
                self.used.setdefault(name, []).append(part * said[name])
        for name in ("at_s", "rss_mb"):
            if said.get(name) is not None:
                self.used.setdefault(name, []).append(said[name])
        for name, values in said.get("parts_ms", {}).items():
            self.parts.setdefault(name, []).extend(values)

    def _calls(self) -> int:
        """How many calls a block of this batch size has."""
        return max(2, min(CALLS, int(1000 * BLOCK_S / (self.typical_ms or 1.0))))

    def _lead(self, alone: bool) -> int:
        """How many calls lead a block in, drawn so that they fall into step with nothing that comes every so often.

        None where a call takes long, or where no other model ran since the last block and a call is no blink; one
        where nothing is known of the calls yet.
        """
        typical = self.typical_ms
        if typical is None:
            return 1
        if typical >= (_LEAD_MS if alone else _LONG_MS):
            return 0
        most = min(_MOST_LEAD, math.ceil(_LEAD_MS / typical))
        return self.random.randint(math.ceil(most / 2), most)

    def look(self, *, last: bool = False, left_s: float = 0.0) -> None:
        """Judge the series where its plan says so; with `last` whatever there is, for the last time.

        Args:
            left_s: of the time limit: with enough of it the end of the plan is not the end of the series.
        """
        if not self.open:
            return
        if self.waiting:
            if last or len(self.samples) >= self.min_samples:
                self.decide(self.waiting)
            return
        if last:
            self.decide(self.verdict_now())
            return
        if self._reached(self.plan[-1]) and left_s > self._lasted_s:
            self.plan = longer(self.plan)
        due = [k for k in self.plan[self.looked :] if self._reached(k)]
        if not due:
            return
        self.looked = self.plan.index(due[-1]) + 1
        verdict = self._judged(due[-1])
        decisive = ("fail",) if due[-1].fail_only else ("pass", "fail")
        if due[-1] == self.plan[-1] or verdict.status in decisive:
            self._found(verdict)

    def _found(self, verdict: Verdict) -> None:
        """Decide now, or when as many samples are there as were asked for: they are for later comparisons."""
        if verdict.status == "fail" or len(self.samples) >= self.min_samples:
            self.decide(verdict)
        else:
            self.waiting = verdict

    def verdict_now(self) -> Verdict:
        """The verdict on a series that is cut short: with the share of the look it was on the way to, and no band."""
        ahead = next((k for k in self.plan[self.looked :] if not k.fail_only), self.plan[-1])
        return self._judged(replace(ahead, band=WHOLE))

    @property
    def _lasted_s(self) -> float:
        """From the first block to the last."""
        at_s = self.used.get("at_s", [0.0])
        return at_s[-1] - at_s[0]

    def _reached(self, look: Look) -> bool:
        """Whether the series is as long as the look asks; short blocks of a slow model make more of them."""
        return len(self.blocks) >= look.rounds and (look.fail_only or len(self.samples) >= look.rounds * CALLS)

    def _judged(self, look: Look) -> Verdict:
        verdict = judge(self.judged, self.blocks, self.budget, self.batch, share=look.share, band=look.band)
        over = self._over_memory()
        leaking = leak(self.used.get("rss_mb", []), self.calls)
        wrong = [reason for reason in (over, leaking) if reason]
        return Verdict(status="fail", reasons=(*wrong, *verdict.reasons)) if wrong else verdict

    def _over_memory(self) -> str:
        limit, peak = self.budget.max_memory_mb, self.peak_rss_mb
        if limit is None or peak is None or peak <= limit:
            return ""
        return f"The peak memory is {peak:.0f} MB, over the budget of {limit:g} MB."

    def end(self, status: Status, reason: str) -> None:
        """Close with a result that is not samples."""
        self.status, self.reason = status, reason
        self.decide(Verdict(status="inconclusive" if status in UNPROVEN else "fail", reasons=(reason,)))

    def decide(self, verdict: Verdict) -> None:
        """Keep the verdict and end the child, whose memory and cores the others need."""
        self.verdict = verdict
        self.close()

    def close(self) -> None:
        """End the child."""
        if self.process:
            self.process.close()
            self.process = None

    def looks_within(self, share: float = 1.0) -> bool:
        """Whether the samples so far lie within the budget, or this share of it; no proof."""
        if self.verdict is not None:
            return self.verdict.status == "pass"
        return bool(self.judged) and percentile(self.judged, self.budget.percentile) <= share * self.limit_ms

    def measurement(self, artifact: Artifact, machine: Machine) -> Measurement:
        """What was measured, keyed to the artifact's sha256."""
        energy = self.used.get("energy_j")
        return Measurement(
            artifact_sha256=artifact.sha256,
            runtime=self.spec["runtime"],
            batch=self.batch,
            status=self.status,
            reason=self.reason,
            samples_ms=tuple(self.samples),
            blocks=tuple(self.blocks),
            warmup_ms=tuple(self.warmup),
            load_ms=self.load_ms,
            first_ms=self.first_ms,
            peak_rss_mb=self.peak_rss_mb,
            block_at_s=tuple(at - self.began_s for at in self.used.get("at_s", [])),
            block_cpu_ms=tuple(self.used.get("cpu_ms", [])),
            block_waited_ms=tuple(self.used.get("waited_ms", [])),
            block_rss_mb=tuple(self.used.get("rss_mb", [])),
            energy_j=sum(energy) if energy else None,
            parts_ms={name: tuple(values) for name, values in self.parts.items()},
            details=self.details,
            log=self.log,
            command=self.command,
            machine=machine,
        )
