"""The verdict on a load, and the numbers its report shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from deploytk import soak
from deploytk.budget import Budget, Verdict
from deploytk.judge import judge
from deploytk.measurement import percentile
from deploytk.scenarios import Load

#: Calls in the shortest block.
_CALLS = 5
#: All samples come in one row, and what a row has of bad stretches may be few: a fifth of the error is spent.
_SHARE = 0.2
#: So few blocks that judge fails only what is clearly over the budget (its SURE_BLOCKS).
_COARSE = 20
#: As in judge: with fewer blocks only what is far from the budget is decided.
_SURE_BLOCKS = 40
_MOST_WINDOWS = 120


def utilization(found: Load) -> float:
    """The share of the workers' time that the requests take, by the arrivals there were; over 1 it is too much."""
    last_s = float(found.arrived_ns[-1]) / 1e9
    return found.arrived_ns.size / last_s / found.capacity_per_s if last_s > 0 and found.served else 0.0


def stretch(found: Load) -> int:
    """How many requests in a row share one queue, so that together they say little more than one of them.

    2 (1 + rho^2 c^2) / (1 - rho)^2 for utilization rho and coefficient of variation c of the service time: twice the
    mean number of requests in the busy period that a request of an M/G/1 queue falls into (from the first two moments
    of that number: Kleinrock, Queueing Systems I, 5.9).
    """
    rho = utilization(found)
    if rho >= 1:
        return found.served
    spread = rho * float(found.service_ms.std() / found.service_ms.mean())
    return min(found.served, max(_CALLS, math.ceil(2 * (1 + spread**2) / (1 - rho) ** 2)))


def partition(count: int, size: int) -> list[int]:
    """Blocks of `size` samples that together hold `count`; the last one takes what is left over."""
    blocks = [size] * max(1, count // size)
    blocks[-1] += count - sum(blocks)
    return blocks


def server_verdict(found: Load, budget: Budget) -> tuple[Verdict, list[int]]:
    """(verdict, blocks it was judged with) on requests that came whether or not the last had ended."""
    if found.overloaded:
        return Verdict(status="fail", reasons=(_overload(found),)), partition(found.served, _CALLS)
    samples, size = found.latency_ms.tolist(), stretch(found)
    blocks = partition(len(samples), size)
    verdict = judge(samples, blocks, budget, found.items, share=_SHARE)
    if verdict.status == "inconclusive" and len(blocks) < _SURE_BLOCKS:
        # A queue that hardly ever empties is one single stretch: what is clearly over the budget still fails.
        coarse = judge(
            samples, partition(len(samples), max(_CALLS, len(samples) // _COARSE)), budget, found.items, share=_SHARE
        )
        if coarse.status == "fail":
            return coarse, blocks
        verdict = Verdict(status="inconclusive", reasons=(*verdict.reasons, _longer(found, size)))
    return verdict, blocks


def _overload(found: Load) -> str:
    offered = found.arrived_ns.size / (float(found.arrived_ns[-1]) / 1e9)
    return (
        f"At {offered:.4g} requests/s the queue grew to {found.longest_queue} in {found.elapsed_s:.3g} s: "
        f"the model serves at most {found.capacity_per_s:.4g} requests/s with {_workers(found.workers)}."
    )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _longer(found: Load, size: int) -> str:
    if size == found.served:
        return f"The queue hardly ever emptied: {_workers(found.workers)} can barely keep up with these arrivals."
    needed_s = _SURE_BLOCKS * size * found.elapsed_s / found.served
    return (
        f"The workers are {100 * utilization(found):.3g} % busy, so about {size} requests in a row share one queue; "
        f"{_SURE_BLOCKS} such stretches take {needed_s:.0f} s (--duration)."
    )


def closed_verdict(found: Load, budget: Budget) -> tuple[Verdict, list[int]]:
    """(verdict, blocks) on requests that came one after another."""
    samples = found.latency_ms.tolist()
    blocks = partition(len(samples), _CALLS)
    return judge(samples, blocks, budget, found.items, share=_SHARE), blocks


def soak_verdict(
    windows: np.ndarray, samples: Sequence[float], budget: Budget, batch: int
) -> tuple[Verdict, list[int], dict[str, Any]]:
    """(verdict, blocks, what the report shows) of a soak: a leak fails, a drift is told."""
    blocks = partition(len(samples), soak.BLOCK)
    verdict = judge(samples, blocks, budget, batch, share=_SHARE)
    memory, drift = soak.memory_growth(windows), soak.drift(windows)
    told = [*verdict.reasons]
    status = verdict.status
    if memory.leaks:
        status = "fail"
        told.insert(
            0,
            f"The memory grows by {memory.mb_per_1000_calls:.3g} MB per 1000 calls and does not stop "
            f"({memory.over_mb:.3g} MB after the first quarter): a leak.",
        )
    if drift.drifts:
        how = "slower" if drift.change > 0 else "faster"
        told.append(
            f"The median changes by {100 * drift.change:+.3g} % over the run: it gets {how} "
            f"(Kendall's tau {drift.tau:.2g}, p {drift.p_value:.2g})."
        )
    return Verdict(status=status, reasons=tuple(told)), blocks, soak_told(windows)


def soak_told(windows: np.ndarray) -> dict[str, Any]:
    """The numbers of a soak, from its windows alone: they are there even when the model died."""
    memory, drift = soak.memory_growth(windows), soak.drift(windows)
    worst = windows[int(windows[:, soak.COLUMNS.index("p95_ms")].argmax())]
    return {
        "requests": int(windows[:, 1].sum()),
        "memory": known(asdict(memory)),
        "drift": known(asdict(drift)),
        "worst_second": _window(worst),
        "slowest_call_ms": float(windows[:, soak.COLUMNS.index("worst_ms")].max()),
        "windows": [_window(row) for row in _thinned(windows)],
        "windows_shown": f"{min(len(windows), _MOST_WINDOWS)} of {len(windows)}",
    }


def _window(row: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(soak.COLUMNS, row, strict=True)}


def _thinned(windows: np.ndarray) -> np.ndarray:
    """At most 120 of the windows, evenly."""
    chosen = np.linspace(0, len(windows) - 1, min(len(windows), _MOST_WINDOWS)).round().astype(int)
    return np.asarray(windows[chosen])


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with None for what is not a number."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def load_told(found: Load) -> dict[str, Any]:
    """The numbers of a load: rates, queue and service time apart, and its course."""
    told: dict[str, Any] = {
        "requests": found.served,
        "unserved": found.unserved,
        "elapsed_s": found.elapsed_s,
        "achieved_per_s": found.achieved_per_s,
        "achieved_items_per_s": found.achieved_per_s * found.items,
        "capacity_per_s": found.capacity_per_s,
        "times": [times("latency", found.latency_ms)],
    }
    return told | {"windows": _windows(found)}


def server_told(found: Load) -> dict[str, Any]:
    """What only an open loop has."""
    return {
        "offered_per_s": found.arrived_ns.size / (float(found.arrived_ns[-1]) / 1e9),
        "utilization": utilization(found),
        "longest_queue": found.longest_queue,
        "requests_that_share_a_queue": stretch(found),
        "times": [
            times("latency", found.latency_ms),
            times("in the queue", found.queue_ms),
            times("in the call", found.service_ms),
            times("late by the tool", found.late_ms),
        ],
    }


def times(name: str, values: np.ndarray) -> dict[str, Any]:
    """A row of a table, in ms: p50, p90, p95, p99, the largest and the mean of what `name` took."""
    listed = values.tolist()
    told = {f"p{p}_ms": percentile(listed, p) for p in (50, 90, 95, 99)}
    mean = float(values.mean()) if listed else math.nan
    return {"time": name, **known(told | {"max_ms": max(listed, default=math.nan), "mean_ms": mean})}


def late(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sentence that the tool itself was late by a tenth of the latency or more, or the empty string."""
    by_name = {row["time"]: row for row in rows}
    tool, whole = by_name.get("late by the tool"), by_name.get("latency")
    if not tool or not whole or tool["p95_ms"] is None or tool["p95_ms"] < 0.1 * whole["p95_ms"]:
        return ""
    return (
        f"Requests whose worker was already waiting for them began up to {tool['p95_ms']:.3g} ms late (p95): other "
        "processes held the cores. The latencies hold this, as they must; without it they would be lower."
    )


def _windows(found: Load) -> list[dict[str, Any]]:
    """The course of a load, by the time of arrival, in at most 120 windows of a second or more."""
    at_s = found.arrived_ns[: found.served] / 1e9
    last_s = float(at_s.max(initial=0.0))
    length_s = max(1.0, last_s / _MOST_WINDOWS)
    edges = np.searchsorted(at_s, np.arange(0, last_s + length_s, length_s))
    latency, queue = found.latency_ms, found.queue_ms
    return [
        {
            "at_s": round(index * length_s, 3),
            "requests": int(end - start),
            "p50_ms": percentile(latency[start:end].tolist(), 50),
            "p95_ms": percentile(latency[start:end].tolist(), 95),
            "worst_ms": float(latency[start:end].max()),
            "queue_ms": float(queue[start:end].mean()),
        }
        for index, (start, end) in enumerate(zip(edges, [*edges[1:], found.served], strict=True))
        if end > start
    ]
