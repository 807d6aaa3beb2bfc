"""A long closed loop: what each second of it was like, whether it slows down, and whether its memory grows.

What the loop itself keeps has its full size before the loop begins, so that the memory that grows is the model's.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploytk import growth, timing
from deploytk.pacing import Clock, MachineClock, Outlook
from deploytk.timing import Run

#: Samples come in blocks of so many consecutive calls, as in the bench.
BLOCK = 5
_MOST_BLOCKS = 20_000
_MOST_IN_WINDOW = 1 << 16
_DRIFT = 0.05

COLUMNS = ("at_s", "calls", "p50_ms", "p95_ms", "p99_ms", "worst_ms", "rss_mb")
Tell = Callable[[dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Soak:
    """What a soak gives: a row of COLUMNS for each window, and blocks of BLOCK samples in ms in their order.

    `kept` is the share of the calls that are among the samples; the windows are about all of them.
    """

    windows: np.ndarray
    samples_ms: np.ndarray
    kept: float


def soak(
    run: Run,
    *,
    duration_s: float,
    batch: int = 1,
    window_s: float = 1.0,
    clock: Clock | None = None,
    rss_mb: Callable[[], float] | None = None,
    tell: Tell | None = None,
) -> Soak:
    """One call after another for `duration_s`, in windows of a second; garbage is collected between the windows.

    Args:
        tell: called with each window when it is over.

    Raises:
        WrongOutput: an output cannot be right.
    """
    clock, rss_mb = clock or MachineClock(), rss_mb or resident_mb
    outlook, kept = Outlook(batch, clock), _Kept()
    windows = np.ones((2 * math.ceil(duration_s / window_s) + 16, len(COLUMNS)))
    samples = np.ones(_MOST_IN_WINDOW)
    calls = done = 0
    with timing.no_garbage_collection():
        zero = now = clock.now()
        while now < zero + duration_s * 1e9 or not calls:
            began, count = now, 0
            while (now < began + window_s * 1e9 or not count) and count < _MOST_IN_WINDOW:
                start = clock.now()
                outlook.take(run(calls + count))
                samples[count] = (clock.now() - start) / 1e6
                count += 1
                outlook.look()
                now = clock.now()
            calls += count
            kept.add(samples[:count])
            gc.collect()
            if done == len(windows):
                windows = np.concatenate([windows, np.ones_like(windows)])
            windows[done] = ((began - zero) / 1e9, count, *_told(samples[:count]), rss_mb())
            if tell:
                tell(dict(zip(COLUMNS, windows[done].tolist(), strict=True)))
            done += 1
            now = clock.now()
        outlook.last()
    return Soak(windows=windows[:done], samples_ms=kept.samples, kept=kept.samples.size / calls)


class _Kept:
    """At most 100,000 samples, as a random choice among all blocks once there are more, each as likely as another."""

    def __init__(self) -> None:
        self._blocks = np.ones((_MOST_BLOCKS, BLOCK))
        self._count, self._share = 0, 1.0
        self._rng = np.random.default_rng(0)
        self._rest = np.empty(0)

    def add(self, samples: np.ndarray) -> None:
        """Take the samples of a window; those that fill no block wait for the next one."""
        samples = np.concatenate([self._rest, samples])
        whole = samples.size // BLOCK * BLOCK
        self._rest = samples[whole:].copy()
        for block in samples[:whole].reshape(-1, BLOCK):
            if self._count == _MOST_BLOCKS:
                self._halve()
            if self._share == 1.0 or self._rng.random() < self._share:
                self._blocks[self._count] = block
                self._count += 1

    def _halve(self) -> None:
        chosen = np.flatnonzero(self._rng.random(_MOST_BLOCKS) < 0.5)
        self._blocks[: chosen.size] = self._blocks[chosen]
        self._count, self._share = int(chosen.size), self._share / 2

    @property
    def samples(self) -> np.ndarray:
        """All that was kept, in order; what filled no block only where there is nothing else."""
        return self._blocks[: self._count].ravel() if self._count else self._rest


def _told(samples: np.ndarray) -> list[float]:
    """p50, p95, p99 (nearest rank) and the largest."""
    ordered = np.sort(samples)
    ranks = [max(1, math.ceil(p / 100 * ordered.size)) - 1 for p in (50, 95, 99)]
    return [*ordered[ranks].tolist(), float(ordered[-1])]


def resident_mb() -> float:
    """The resident memory of this process in MB (10^6 bytes)."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


def memory_growth(windows: np.ndarray) -> growth.Growth:
    """The growth of the memory over the windows of a soak."""
    return growth.memory_growth(windows[:, COLUMNS.index("rss_mb")], windows[:, COLUMNS.index("calls")])


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the median latency changed over a soak: `change` as a fraction of it (0.1: 10 % slower at the end)."""

    change: float
    tau: float
    p_value: float
    drifts: bool | None  # None: too few windows to say


def drift(windows: np.ndarray) -> Drift:
    """The Theil-Sen slope of the windows' medians, and Kendall's tau with its two-sided p-value.

    It is a drift when the change is more than 5 % and chance would make one so steady in less than 1 of 100 runs.
    """
    from scipy import stats

    if len(windows) < 12:
        return Drift(change=math.nan, tau=math.nan, p_value=math.nan, drifts=None)
    at, medians = growth.grouped(windows[:, 0]), growth.grouped(windows[:, 2])
    if (medians == medians[0]).all():
        return Drift(change=0.0, tau=0.0, p_value=1.0, drifts=False)
    change = float(stats.theilslopes(medians, at).slope * (at[-1] - at[0]) / np.median(medians))
    found = stats.kendalltau(at, medians)
    drifts = abs(change) > _DRIFT and found.pvalue < 0.01
    return Drift(change=change, tau=float(found.statistic), p_value=float(found.pvalue), drifts=bool(drifts))


def throttling() -> dict[str, float]:
    """Counters of what holds this machine's cores back; only those that it tells.

    `thermal_events`: cores slowed down because of heat; `quota_ms`: time a container's quota (cgroup) was used up.
    """
    found: dict[str, float] = {}
    counts = list(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    if counts:
        found["thermal_events"] = float(sum(int(path.read_text(encoding="ascii")) for path in counts))
    try:
        lines = (line.split() for line in Path("/sys/fs/cgroup/cpu.stat").read_text(encoding="ascii").splitlines())
        quota = {line[0]: int(line[1]) for line in lines if len(line) == 2}
    except OSError:
        return found
    if "throttled_usec" in quota:
        found["quota_ms"] = quota["throttled_usec"] / 1e3
    return found
