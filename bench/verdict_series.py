"""Simulated latencies in ms, with everything that makes neighbouring calls alike: one series in each row.

A series is asked for the calls it should give (`times`, the index of each call), so that blocks spread over a long
measurement cost no more than the calls inside them. A measurement is HORIZON calls long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from deploytk.budget import Budget
from deploytk.judge import plan_for

Array = npt.NDArray[Any]
Series = Callable[[np.random.Generator, int, Array], Array]

#: Blocks start this many calls apart.
SPACING = 100
#: The whole plan.
HORIZON = plan_for(Budget())[-1].rounds * SPACING


def iid(rng: np.random.Generator, runs: int, times: Array) -> Array:
    """Independent, log-normal."""
    return 40 * np.exp(0.1 * rng.standard_normal((runs, times.size)))


def ar1(rng: np.random.Generator, runs: int, times: Array, *, rho: float) -> Array:
    """Log-normal, its logarithm an autoregression of order one."""
    found = np.empty((runs, times.size))
    now = rng.standard_normal(runs)
    for i, gap in enumerate(np.diff(times, prepend=times[0])):
        kept = rho**gap
        now = kept * now + np.sqrt(1 - kept**2) * rng.standard_normal(runs)
        found[:, i] = now
    return 40 * np.exp(0.1 * found)


def linear(rng: np.random.Generator, runs: int, times: Array, *, drift: float = 0.3, length: int = HORIZON) -> Array:
    """Independent, 5 % wide, and rising or falling by 30 % over the measurement of `length` calls."""
    direction = rng.choice([-1, 1], size=(runs, 1))
    return 40 * np.exp(drift * direction * (times / length - 0.5) + 0.05 * rng.standard_normal((runs, times.size)))


def sinusoid(rng: np.random.Generator, runs: int, times: Array, *, periods: float, length: int = HORIZON) -> Array:
    """Independent, 5 % wide, and going up and down by 15 %, from any point of the wave."""
    wave = np.sin(2 * np.pi * (periods * times / length + rng.random((runs, 1))))
    return 40 * np.exp(0.15 * wave + 0.05 * rng.standard_normal((runs, times.size)))


def bimodal(
    rng: np.random.Generator, runs: int, times: Array, *, run: float, share: float = 0.15, factor: float = 1.5
) -> Array:
    """Two modes 3 % wide: 40 ms, and `share` of the calls `factor` times slower, in runs of `run` calls on average."""
    forgets = 1 / run + 1 / run * share / (1 - share)
    slow = np.empty((runs, times.size), dtype=bool)
    now = rng.random(runs) < share
    for i, gap in enumerate(np.diff(times, prepend=times[0])):
        kept = (1 - forgets) ** gap
        now = rng.random(runs) < share + (now - share) * kept
        slow[:, i] = now
    return 40 * np.where(slow, factor, 1.0) * np.exp(0.03 * rng.standard_normal((runs, times.size)))


def spikes(rng: np.random.Generator, runs: int, times: Array, *, share: float = 0.01) -> Array:
    """Log-normal, and one call in a hundred takes five times as long."""
    spiked = rng.random((runs, times.size)) < share
    return iid(rng, runs, times) * np.where(spiked, 5.0, 1.0)


def pareto(rng: np.random.Generator, runs: int, times: Array) -> Array:
    """40 ms, 3 % wide, and a Pareto tail on top whose third moment is infinite."""
    size = (runs, times.size)
    return 40 * np.exp(0.03 * rng.standard_normal(size)) + 4 * rng.pareto(2.5, size)


#: What the promises are made for.
PROMISED: dict[str, Series] = {
    "independent": iid,
    "AR(1) 0.5": partial(ar1, rho=0.5),
    "AR(1) 0.9": partial(ar1, rho=0.9),
    "drift, linear": linear,
    "drift, one wave": partial(sinusoid, periods=1),
    "drift, eight waves": partial(sinusoid, periods=8),
    "bimodal, runs of 5": partial(bimodal, run=5),
    "bimodal, runs of 50": partial(bimodal, run=50),
    "heavy tail, 5x spikes": spikes,
    "heavy tail, Pareto": pareto,
}
#: Beyond the promises: neighbouring blocks are alike too, or the slow mode is rare and comes in long runs.
STRESS: dict[str, Series] = {
    "drift, linear, 60 %": partial(linear, drift=0.6),
    "AR(1) 0.99": partial(ar1, rho=0.99),
    "AR(1) 0.997": partial(ar1, rho=0.997),
    "bimodal, runs of 500": partial(bimodal, run=500),
    "6 % slow 1.5x, runs of 5": partial(bimodal, run=5, share=0.06),
    "6 % slow 1.5x, runs of 50": partial(bimodal, run=50, share=0.06),
    "6 % slow 3x, runs of 5": partial(bimodal, run=5, share=0.06, factor=3),
    "6 % slow 3x, runs of 50": partial(bimodal, run=50, share=0.06, factor=3),
    "15 % slow 3x, runs of 50": partial(bimodal, run=50, factor=3),
}


def shorter(name: str, rounds: int) -> Series:
    """A promised series whose drift, if it has one, takes as long as `rounds` blocks."""
    series = PROMISED[name]
    return partial(series, length=rounds * SPACING) if name.startswith("drift") else series


def true_p95(series: Series, length: int = HORIZON) -> float:
    """The p95 in ms over whole measurements of `length` calls, from a million calls or more."""
    calls = series(np.random.default_rng(95), 400, np.arange(0, length, max(1, length // 4000)))
    return float(np.quantile(calls, 0.95))


def block_times(blocks: int, calls: int) -> Array:
    """The indices of the calls in blocks that start SPACING apart."""
    return (np.arange(blocks)[:, np.newaxis] * SPACING + np.arange(calls)).ravel()
