"""The measuring loop: warm-up until steady, blocks of timed calls, and outputs that are looked at."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter_ns

import numpy as np

Feed = Mapping[str, np.ndarray]
Outputs = Mapping[str, np.ndarray]
Run = Callable[[Feed], Outputs]

_WINDOW = 5
_MOST_LEAD = 50
_STEADY = 0.1  # the medians of two windows differ by less than this fraction


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
    run: Run, feeds: Sequence[Feed], *, start: int, calls: int, lead_ms: float = 0.0
) -> tuple[list[float], list[float], Outputs]:
    """(latencies of the lead-in, of each call in ms, outputs of the last) for calls that rotate over `feeds`.

    Nothing but the call is inside the clock. The lead-in are calls that are no samples, for `lead_ms` or 50 calls:
    after a pause a small model needs several until caches and cores are back.
    """
    lead: list[float] = []
    samples: list[float] = []
    outputs: Outputs = {}
    with no_garbage_collection():
        while len(lead) < _MOST_LEAD and sum(lead) < lead_ms:
            lead.append(_timed(run, feeds[(start + len(lead)) % len(feeds)])[0])
        for index in range(start, start + calls):
            latency_ms, outputs = _timed(run, feeds[index % len(feeds)])
            samples.append(latency_ms)
    return lead, samples, outputs


def _timed(run: Run, feed: Feed) -> tuple[float, Outputs]:
    began = perf_counter_ns()
    outputs = run(feed)
    return (perf_counter_ns() - began) / 1e6, outputs


def warm_up(run: Run, feeds: Sequence[Feed], *, most_calls: int = 50, limit_s: float = 10.0) -> list[float]:
    """Latencies in ms of the calls made until two windows in a row took about the same time.

    It ends after `most_calls` calls or, once one window is full, after `limit_s` seconds: the samples that follow
    are judged as they are, steady or not.
    """
    samples: list[float] = []
    with no_garbage_collection():
        while len(samples) < most_calls and not is_steady(samples):
            if len(samples) >= _WINDOW and sum(samples) > 1000 * limit_s:
                break
            samples.append(_timed(run, feeds[len(samples) % len(feeds)])[0])
    return samples


def is_steady(samples: Sequence[float]) -> bool:
    """Whether the last two windows of five calls have medians within 10 % of each other."""
    if len(samples) < 2 * _WINDOW:
        return False
    before, after = median(samples[-2 * _WINDOW : -_WINDOW]), median(samples[-_WINDOW:])
    return abs(after - before) <= _STEADY * before


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


def same_for_all(outputs: Sequence[Outputs]) -> str:
    """The sentence that the model ignores its input, when all its outputs are equal for different inputs."""
    if len(outputs) < 2:
        return ""
    first = outputs[0]
    if all(np.array_equal(first[name], other[name]) for other in outputs[1:] for name in first):
        return f"All outputs are the same for {len(outputs)} different inputs: the model does not depend on its input."
    return ""
