"""Several ways to run a model, measured in turns in one run, and how many times as fast each is as another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from int8_ways import Way

from deploytk import ratio
from deploytk.budget import Budget
from deploytk.stages import bench_compare
from deploytk.stages.bench import artifact_of, spec_of

#: Each look at the ratios of `bench_compare` has an equal part of 5 % error.
CONFIDENCE = 1 - 0.05 / len(bench_compare.LOOKS)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One way as measured: the median of each round in ms; none, and a reason, where it could not be run."""

    way: Way
    rounds_ms: tuple[float, ...]
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ms(self) -> float:
        """The median of the rounds."""
        return median(self.rounds_ms)


def in_turns(
    ways: Sequence[Way], *, seconds: float, logs: Path, feeds: Path | None = None, images: Sequence[Path] = ()
) -> list[Timed]:
    """Each way at batch 1 in a process of its own, a block of calls of each in every round.

    Args:
        feeds: .npz of inputs for the model alone.
        images: from the bytes of these image files to the boxes, instead of the model alone.
    """
    boundary = "end_to_end" if images else "model"
    more = {"images": [str(path) for path in images]} if images else {}
    contenders = []
    for way in ways:
        artifact = artifact_of(way.path)
        spec = spec_of(artifact, runtime=way.runtime, feeds=feeds, boundary=boundary) | more
        contenders.append(bench_compare.Contender(artifact=artifact, spec=spec))
    report = bench_compare.compare(
        contenders, budget=Budget(boundary=boundary), batches=[1], tolerance=0.0, time_limit_s=seconds, out=logs
    )
    return [
        Timed(way=way, rounds_ms=_rounds(m.samples_ms, m.blocks), reason=m.reason, details=m.details)
        for way, m in zip(ways, report.measurements, strict=True)
    ]


def _rounds(samples: Sequence[float], blocks: Sequence[int]) -> tuple[float, ...]:
    ends = accumulate(blocks)
    return tuple(median(samples[end - size : end]) for end, size in zip(ends, blocks, strict=True))


def times_as_fast(this: Timed, other: Timed) -> ratio.Ratio | None:
    """How many times as fast `this` is as `other`, within the rounds; None where one could not be run."""
    rounds = min(len(this.rounds_ms), len(other.rounds_ms))
    if not rounds:
        return None
    return ratio.paired(this.rounds_ms[:rounds], other.rounds_ms[:rounds], CONFIDENCE)


def interval(found: ratio.Ratio) -> str:
    """The ends in words."""
    return f"{found.low:.2f} to {found.high:.2f}" if found.bounded else "too few rounds"


def fastest(timed: Sequence[Timed]) -> Timed:
    """The one with the lowest median."""
    return min((t for t in timed if t.rounds_ms), key=lambda t: t.ms)
