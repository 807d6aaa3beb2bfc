"""The search over batch sizes: screen each with few samples, go between the listed ones, prove the ones in question.

1. Screening, upwards: every batch size is opened in a process of its own, warmed up and given three short blocks. One
   that plainly misses the budget is decided by them. Batch sizes above it are only looked at (a few calls), for the
   curve of the throughput, as far as that is cheap.
2. Between the largest that looks within the budget and the smallest that does not, others are tried whose proof is
   cheap (`bench_worth`).
3. Whatever may be within the budget is sampled in blocks that are spread over time, in turn with the others, until
   the verdict is decided or the time limit is reached. A search `1..64` that has found a batch size within the budget
   leaves open what lies on the budget, and says how to get its proof.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deploytk.budget import Budget, Verdict
from deploytk.stages import bench_worth
from deploytk.stages.bench_point import SCREEN_BLOCKS, Point, in_turn
from deploytk.worker import Listener

#: Shares of the time limit: for screening, and for one batch size that is over the budget already.
_SCREEN_SHARE, _CURVE_SHARE = 0.5, 0.08
#: What a batch size that is only looked at costs, in calls: one to warm up, one to lead in, three blocks of one.
_LOOKED_AT = 5
#: Batch sizes tried between the listed ones.
_BETWEEN = 4
#: Beyond the budget a batch size is not tried where twice the memory of the last one might not be there.
_MEMORY_FACTOR = 2.0


@dataclass(kw_only=True)
class Sweep:
    """All batch sizes of one model under one budget and one time limit."""

    spec: dict[str, Any]
    budget: Budget
    time_limit_s: float
    logs: Path
    listen: Listener | None = None
    min_samples: int = 0
    is_search: bool = False  # and no list of batch sizes that are all to be proved
    listed: Sequence[int] = ()
    points: list[Point] = field(default_factory=list)
    began_s: float = field(default_factory=lambda: time.monotonic())
    between_left: int = _BETWEEN

    @property
    def left_s(self) -> float:
        """What is left of the time limit."""
        # The libraries of a text model take longer to import than its batches to measure: they would leave no time.
        imports_s = sum(p.importing_s for p in self.points) if self.spec.get("format") == "text" else 0.0
        return self.time_limit_s + imports_s - (time.monotonic() - self.began_s)

    def screen(self, batches: Sequence[int]) -> None:
        """Open and screen the batch sizes upwards, until memory or half of the time is gone."""
        stop = ""
        self.listed = batches
        for done, batch in enumerate(batches):
            self._tell(done, len(batches), f"screening batch {batch}")
            stop = stop or self._no_time_for_more(batches[:done])
            why = stop or self._not_worth_it(batch)
            if why:
                self._add(batch).end("not_run", why)
                continue
            stop = self._reason_to_stop(self._screened(batch))

    def between(self) -> None:
        """Try batch sizes between the largest that looks within the budget and the next one known to be over it."""
        while self.between_left:
            batch = bench_worth.between(self.points, self._is_cheap)
            if batch is None or self.left_s < self.time_limit_s * _SCREEN_SHARE / 2:
                return
            self._tell(len(self.points), None, f"screening batch {batch}")
            self.between_left -= 1
            self._screened(batch)

    def tell_gap(self) -> None:
        """Say of the batch size above a gap why nothing was tried in it."""
        low, high = bench_worth.gap(self.points) or (None, None)
        if low is None or high is None or high.verdict is None or high.status == "oom" or bench_worth.gains(low, high):
            return
        why = f"Between {low.batch} and {high.batch} nothing was tried: {high.batch} brings no more items per second."
        high.verdict = Verdict(status=high.verdict.status, reasons=(*high.verdict.reasons, why))

    def sample(self) -> None:
        """Take a block of each open point per round, another one first each time, until none is open or time is up."""
        done = 0
        while (asked := self._asked()) and self.left_s > 0:
            done += 1
            self._tell(done, None, f"sampling batch {', '.join(str(p.batch) for p in asked)}")
            for point in in_turn(asked, done, until=time.monotonic() + self.left_s):
                if point.block(timeout_s=self.left_s, alone=len(asked) == 1):
                    point.look(left_s=self.left_s)
        for point in self.points:
            point.look(last=True)

    def _asked(self) -> list[Point]:
        """The open points. In a search, those on the budget wait for the others, and are left open once one passes."""
        asked = [p for p in self.points if p.open]
        if not self.is_search:
            return asked
        near = [p for p in asked if bench_worth.is_too_dear(p, self.points, self._affordable_s(p))]
        if any(p.verdict and p.verdict.status == "pass" for p in self.points):
            for point in near:
                point.decide(bench_worth.left_open(point, self.points))
        return [p for p in asked if p not in near] or [p for p in near if p.open]

    def _affordable_s(self, point: Point) -> float:
        return bench_worth.affordable_s(self.time_limit_s, between=point.batch not in self.listed)

    def _is_cheap(self, share: float, call_ms: float) -> bool:
        """Whether a batch size between the listed ones can be proved in its share of the time limit."""
        return bench_worth.proof_s(self.budget, share, call_ms) <= bench_worth.affordable_s(
            self.time_limit_s, between=True
        )

    def _add(self, batch: int) -> Point:
        point = Point(
            spec=self.spec, batch=batch, budget=self.budget, min_samples=self.min_samples, began_s=self.began_s
        )
        self.points.append(point)
        self.points.sort(key=lambda p: p.batch)
        return point

    def _screened(self, batch: int) -> Point:
        """Open, warm up and take the first blocks; a batch size that plainly misses the budget is decided."""
        over = self._missed_below(batch)
        point = self._add(batch)
        if not point.start(self.logs, timeout_s=self._patience_s(), warm_s=self.time_limit_s / 12, least=over):
            return point
        for _ in range(SCREEN_BLOCKS):
            if not point.block(timeout_s=self.left_s, calls=1 if over else None):
                return point
            point.look()
        return point

    def _missed_below(self, batch: int) -> bool:
        """Whether a smaller batch size has missed the budget for a whole batch: a larger one does too."""
        return self.budget.per == "batch" and any(_missed(p) for p in self.points if p.batch < batch)

    def _not_worth_it(self, batch: int) -> str:
        """Why a batch size beyond the budget is not even looked at, or the empty string."""
        if not self._missed_below(batch):
            return ""
        measured = sorted((p for p in self.points if p.samples and p.batch < batch), key=lambda p: p.batch)
        before, last = measured[-2:] if len(measured) > 1 else (None, measured[-1])
        first = min(p.batch for p in self.points if _missed(p))
        if self.is_search and before is not None and not bench_worth.gains(before, last):
            return (
                f"not run: batch {first} already misses the budget, and batch {last.batch} brought no more items per "
                f"second than {before.batch}"
            )
        expected_s = _LOOKED_AT * (last.typical_ms or 0.0) * batch / last.batch / 1000
        if expected_s > self.time_limit_s * _CURVE_SHARE:
            return f"not run: batch {first} already misses the budget, and a look would take about {expected_s:.0f} s"
        if _MEMORY_FACTOR * (last.peak_rss_mb or 0.0) * 1e6 > psutil.virtual_memory().available:
            return f"not run: batch {first} already misses the budget, and the memory might not suffice"
        return ""

    def _no_time_for_more(self, tried: Sequence[int]) -> str:
        if not tried or self.left_s > self.time_limit_s * (1 - _SCREEN_SHARE):
            return ""
        return f"not run: half of the time limit of {round(self.time_limit_s, 1):g} s was gone after batch {tried[-1]}"

    def _reason_to_stop(self, point: Point) -> str:
        """Why higher batch sizes need not be tried, or the empty string."""
        if point.status == "oom":
            return f"not run: batch {point.batch} already ran out of memory"
        if point.status == "timeout":
            return f"not run: batch {point.batch} used up the time limit of {round(self.time_limit_s, 1):g} s"
        return ""

    def _patience_s(self) -> float:
        """How long a child may take to answer: what is left of the time limit, a second at least."""
        return max(1.0, self.left_s)

    def _tell(self, done: int, total: int | None, text: str) -> None:
        if self.listen:
            self.listen({"done": done, "total": total, "text": text})


def _missed(point: Point) -> bool:
    """Whether the point was measured, and is or looks over the budget."""
    if point.status != "ok" or not point.samples:
        return False
    return point.verdict.status == "fail" if point.verdict else not point.looks_within()


def swept(
    spec: dict[str, Any],
    batches: Sequence[int],
    budget: Budget,
    time_limit_s: float,
    logs: Path,
    listen: Listener | None,
    *,
    may_go_between: bool = False,
    min_samples: int = 0,
) -> list[Point]:
    """Every batch size with its verdict; no child is left behind, whatever happens.

    Args:
        may_go_between: other batch sizes than the listed ones may be tried, to find the largest within the budget.
        min_samples: of each batch size within the budget, though fewer would decide.

    Raises:
        DeploytkError: the model or its samples cannot be used at all.
    """
    sweep = Sweep(
        spec=spec,
        budget=budget,
        time_limit_s=time_limit_s,
        logs=logs,
        listen=listen,
        min_samples=min_samples,
        is_search=may_go_between,
    )
    try:
        sweep.screen(batches)
        if may_go_between:
            sweep.between()
        sweep.sample()
        while may_go_between and sweep.left_s > 0 and _try_between(sweep):
            sweep.sample()
        if may_go_between:
            sweep.tell_gap()
    finally:
        for point in sweep.points:
            point.close()
    return sweep.points


def _try_between(sweep: Sweep) -> bool:
    """Whether the verdicts left a gap in which another batch size has now been opened."""
    before = len(sweep.points)
    sweep.between()
    return len(sweep.points) > before
