"""The measuring loop: warm-up until steady, blocks of timed calls, and outputs that are looked at."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter_ns

import numpy as np

Feed = Mapping[str, np.ndarray]
Outputs = Mapping[str, np.ndarray]
#: One call of what is measured: turn after turn with another input.
Run = Callable[[int], Outputs]

#: Calls that must follow the last change: ten, or as many as half a second holds, four at least.
_STEADY_CALLS, _STEADY_MS, _LEAST_STEADY = 10, 500.0, 4
_LEAST_SERIES = 6
#: A change-point counts where the medians before and after it differ by this fraction, and chance (Pettitt) is rarer.
_CHANGED, _CHANCE = 0.05, 0.1


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Garbage is collected before the block and not inside it."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def sample(
    run: Run, *, start: int, calls: int, lead: int = 0, after: Callable[[], None] | None = None
) -> tuple[list[float], list[float]]:
    """(latencies of the lead-in, of each call in ms) for the turns from `start` on.

    Nothing but the call is inside the clock; `after` is called after each sample, outside it. The `lead` calls before
    them are no samples: after a pause a small model needs several until caches and cores are back. How many they are
    is decided beforehand: a lead-in that ends with a slow call would keep slow calls out of the samples.
    """
    took: list[float] = []
    with no_garbage_collection():
        for turn in range(start, start + lead + calls):
            took.append(_timed(run, turn))
            if after and len(took) > lead:
                after()
    return took[:lead], took[lead:]


def _timed(run: Run, turn: int) -> float:
    began = perf_counter_ns()
    run(turn)
    return (perf_counter_ns() - began) / 1e6


def warm_up(run: Run, *, most_calls: int = 60, limit_s: float = 10.0) -> list[float]:
    """Latencies in ms of the calls made until enough in a row show no change-point (`is_steady`).

    It ends after `most_calls` calls or `limit_s` seconds: the samples that follow are judged as they are.
    """
    samples: list[float] = []
    with no_garbage_collection():
        while len(samples) < most_calls and sum(samples) < 1000 * limit_s and not is_steady(samples):
            samples.append(_timed(run, len(samples)))
    return samples


def is_steady(samples: Sequence[float]) -> bool:
    """Whether enough calls have followed the last change of the latency: ten, fewer where a call takes long."""
    steady = samples[steady_from(samples) :]
    if len(steady) < _LEAST_STEADY:
        return False
    return len(steady) >= min(_STEADY_CALLS, _STEADY_MS / median(steady))


def steady_from(samples: Sequence[float]) -> int:
    """Where the part of the series begins that shows no change-point any more."""
    start = 0
    while cut := _change_point(samples[start:]):
        start += cut
    return start


def _change_point(series: Sequence[float]) -> int:
    """Where the series changes its level, 0 where it does not: the test of Pettitt (1979), free of any distribution.

    K = max |U_k|, U_k = the sum over i < k <= j of sign(x_j - x_i); p is about 2 exp(-6 K^2 / (n^3 + n^2)).
    """
    count = len(series)
    if count < _LEAST_SERIES:
        return 0
    values = np.asarray(series)
    ranks = np.sign(values[:, None] - values[None, :]).sum(axis=1)
    cumulated = np.abs(np.cumsum(ranks))[:-1]
    at = int(np.argmax(cumulated)) + 1
    chance = 2 * math.exp(-6 * float(cumulated[at - 1]) ** 2 / (count**3 + count**2))
    before, after = median(series[:at]), median(series[at:])
    return at if chance < _CHANCE and abs(after - before) > _CHANGED * before else 0


def wrong_outputs(outputs: Outputs, batch: int) -> str:
    """Why the outputs of one call cannot be right, as a sentence, or the empty string.

    The leading dimension must be `batch`, and floats must be finite.
    """
    if not outputs:
        return "The model has no output."
    for name, value in outputs.items():
        array = np.asarray(value)
        if array.ndim == 0 or array.shape[0] != batch:
            return f"Output {name} has shape {array.shape}, which does not begin with the batch size {batch}."
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            return f"Output {name} holds NaN or infinity ({bad} of {array.size} values)."
    return ""
