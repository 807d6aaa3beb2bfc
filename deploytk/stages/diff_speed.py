"""Latencies of two runs on a machine that changes its speed: brought to one speed by a probe that ran beside them.

The probe is a fixed workload timed once per round (`sections.bench.speed`). A block's samples are divided by what the
probe took near it, to the power of `elasticity`: how much the model slows down where the probe does, 1 for in step.
Where a run saw several speeds the elasticity is fitted to it, elsewhere it is 1. Nobody knows it exactly, so the more
the machine's speed differs between the runs, the more a ratio is allowed to be off (`slack`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from deploytk.report import Report
from deploytk.report.points import Point

#: How far the elasticity may be from 1 where nothing was seen of it, and from what was fitted where something was.
#: Measured beside matrix products on a busy two-core machine, in CPU time: 0.7 to 1.3 for a float detector on ONNX
#: Runtime, 1 to 1.5 for an INT8 one on LiteRT while the probe was 10 to 30 % slower.
_UNSEEN, _FITTED = 0.3, 0.08
#: A run that saw speeds this far apart shows the elasticity.
_APART = 1.15
_ELASTICITIES = np.linspace(0.5, 1.5, 101)
#: One timing of the probe is noisy: the median of so many neighbours keeps the edge between two speeds.
_WINDOW = 5


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the probe took (ms) at which time of the bench (s), smoothed."""

    at_s: np.ndarray
    ms: np.ndarray

    @staticmethod
    def of(report: Report) -> Probe | None:
        """The probe of a bench; None where it has none that can be read."""
        bench = report.sections.get("bench")
        told: Any = bench.get("speed") if isinstance(bench, Mapping) else None
        at_s, ms = ((told or {}).get(name) or () for name in ("at_s", "ms"))
        if not ms or len(at_s) != len(ms) or not all(isinstance(v, int | float) and v > 0 for v in ms):
            return None
        smooth = [median(ms[max(0, i - _WINDOW // 2) : i + _WINDOW // 2 + 1]) for i in range(len(ms))]
        return Probe(at_s=np.asarray(at_s, dtype=np.float64), ms=np.asarray(smooth, dtype=np.float64))

    def near(self, at_s: Sequence[float]) -> np.ndarray:
        """What the probe took nearest in time to each of these moments, in ms."""
        apart = np.abs(np.asarray(at_s, dtype=np.float64)[:, None] - self.at_s[None, :])
        return np.asarray(self.ms[apart.argmin(axis=1)])

    @property
    def typical_ms(self) -> float:
        """The median over the run."""
        return float(np.median(self.ms))


@dataclass(frozen=True, kw_only=True)
class OneSpeed:
    """The blocks of both runs as if measured at one speed, and by what factor their ratio may be off for that."""

    old: list[list[float]]
    new: list[list[float]]
    slack: float
    elasticity: float


def at_one_speed(old: Point, new: Point, old_probe: Probe, new_probe: Probe) -> OneSpeed:
    """Both points at the typical speed of the old run."""
    reference = math.log(old_probe.typical_ms)
    old_speed, new_speed = (_speeds(p, probe) - reference for p, probe in ((old, old_probe), (new, new_probe)))
    elasticity, unsure = _elasticity([(old, old_speed), (new, new_speed)])
    return OneSpeed(
        old=_divided(old, elasticity * old_speed),
        new=_divided(new, elasticity * new_speed),
        slack=math.exp(unsure * abs(float(new_speed.mean() - old_speed.mean()))),
        elasticity=elasticity,
    )


def _speeds(point: Point, probe: Probe) -> np.ndarray:
    """The logarithm of the probe near each block; of its typical time where the blocks' times are not known."""
    blocks, at_s = point.blocks_ms, point.measurement.block_at_s if point.measurement else ()
    if len(at_s) != len(blocks):
        return np.full(len(blocks), math.log(probe.typical_ms))
    return np.asarray(np.log(probe.near(at_s)))


def _divided(point: Point, speeds: np.ndarray) -> list[list[float]]:
    return [[ms / math.exp(s) for ms in block] for block, s in zip(point.blocks_ms, speeds, strict=True)]


def _elasticity(runs: Sequence[tuple[Point, np.ndarray]]) -> tuple[float, float]:
    """The elasticity, and how far it may be off: fitted to the runs that saw several speeds, 1 where none did."""
    showing = [(p, s) for p, s in runs if np.quantile(s, 0.9) - np.quantile(s, 0.1) >= math.log(_APART)]
    if not showing:
        return 1.0, _UNSEEN
    latencies = [(np.log([median(block) for block in p.blocks_ms]), s) for p, s in showing]
    left = [sum(_spread(latency - e * s) for latency, s in latencies) for e in _ELASTICITIES]
    found = float(_ELASTICITIES[int(np.argmin(left))])
    if found in (_ELASTICITIES[0], _ELASTICITIES[-1]):  # the probe says nothing about this model
        return 1.0, 0.5
    return found, _FITTED


def _spread(values: np.ndarray) -> float:
    return float(np.abs(values - np.median(values)).sum())
