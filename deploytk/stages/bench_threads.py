"""`--threads auto`: how many threads a model is fastest with on this machine now, measured."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from deploytk import ratio, usage
from deploytk.budget import Budget
from deploytk.errors import InputError
from deploytk.stages.bench_point import Point
from deploytk.worker import Listener

ROUNDS = 15
#: More threads must be faster by more than this to be worth it.
_WORTH = 1.03


def candidates() -> list[int]:
    """1, 2, 4 ... up to the cores of this process, and the number of physical ones."""
    cores = usage.cores()
    doubling = [2**i for i in range(cores.bit_length()) if 2**i <= cores]
    physical = min(cores, psutil.cpu_count(logical=False) or cores)
    return sorted({*doubling, physical, cores})


def measured_threads(
    spec: dict[str, Any], batch: int, budget: Budget, logs: Path, time_limit_s: float, listen: Listener | None
) -> dict[str, Any]:
    """{"best", "batch", "rows"}: all numbers of threads in turn, round by round; the fewest that nothing beats.

    Raises:
        InputError: the model cannot be run with any of them.
    """
    until = time.monotonic() + time_limit_s
    tried = {
        n: Point(spec={**spec, "threads": n, "name": f"{n}-threads"}, batch=batch, budget=budget) for n in candidates()
    }
    try:
        running = {n: p for n, p in tried.items() if p.start(logs, timeout_s=time_limit_s, warm_s=time_limit_s / 12)}
        for done in range(ROUNDS):
            if listen:
                listen({"done": done, "total": ROUNDS, "text": f"threads {', '.join(map(str, running))}"})
            if done and time.monotonic() > until:
                break
            for n in list(running):
                if not running[n].block(timeout_s=time_limit_s):
                    del running[n]
    finally:
        for point in tried.values():
            point.close()
    if not running:
        reasons = "; ".join(f"{n}: {p.reason}" for n, p in tried.items())
        raise InputError(f"--threads auto: the model ran with no number of threads at batch {batch} ({reasons})")
    return {"best": _fewest(running), "batch": batch, "rows": [_row(n, p) for n, p in tried.items()]}


def _fewest(running: dict[int, Point]) -> int:
    """The smallest number of threads that is slower than the fastest by 3 % at most, over pairs of one round."""
    medians = {n: [median(block) for block in p.in_blocks] for n, p in running.items()}
    rounds = min(map(len, medians.values()))
    fastest = min(medians, key=lambda n: median(medians[n]))
    return min(n for n in medians if ratio.paired(medians[fastest][:rounds], medians[n][:rounds]).value <= _WORTH)


def _row(threads: int, point: Point) -> dict[str, Any]:
    waited, wall = (sum(point.used.get(name, [])) for name in ("waited_ms", "wall_ms"))
    return {
        "threads": threads,
        "p50_ms": median(point.samples) if point.samples else None,
        "waited": waited / wall if wall else None,
        "n": len(point.samples),
        "status": point.status,
    }
