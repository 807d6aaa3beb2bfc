"""The shape of a curve in a few numbers: its peak, its end, its noise, how fast it still rises (numpy-free)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from deploytk.training.diagnosis.values import Point, Series

#: The scale of a standard deviation, from the median of absolute deviations.
_MAD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A curve in which higher is better; losses are turned round by `of`."""

    values: tuple[float, ...]  # finite
    points: tuple[Point, ...]
    smooth: tuple[float, ...]  # running medians
    noise: float  # standard deviation of one point around the trend

    @property
    def peak(self) -> float:
        """The best of the running medians: one lucky epoch is no peak."""
        return max(self.smooth)

    @property
    def end(self) -> float:
        """The last of the running medians."""
        return self.smooth[-1]

    @property
    def best(self) -> Point:
        """The first of the best points."""
        return self.points[max(range(len(self.values)), key=self.values.__getitem__)]

    def below(self, limit: float) -> int:
        """How many of the last points, without a gap, lie below the limit."""
        count = 0
        for value in reversed(self.values):
            if value >= limit:
                break
            count += 1
        return count

    def noise_before(self, tail: int) -> float:
        """The noise of all but the last `tail` points."""
        return _noise(self.values[:-tail] if tail else self.values)

    def slope(self) -> tuple[float, float, int]:
        """How much one more point brings by the last third, the standard error of that, and how many points it has."""
        last = self.values[-max(5, len(self.values) // 3) :]
        return (*_line(last), len(last))


def of(series: Series) -> Shape | None:
    """The shape of the finite part of a curve, None where it has none."""
    points = series.finite()
    if not points:
        return None
    sign = 1.0 if series.higher else -1.0
    values = tuple(sign * p.value for p in points)
    return Shape(values=values, points=points, smooth=_smooth(values), noise=_noise(values))


def _smooth(values: Sequence[float]) -> tuple[float, ...]:
    """The median of the last few values at each point, of more where there are more."""
    width = min(max(3, len(values) // 10), 9) if len(values) > 3 else 1
    first = min(width, len(values)) - 1
    return tuple(statistics.median(values[max(0, i - width + 1) : i + 1]) for i in range(first, len(values)))


def _noise(values: Sequence[float]) -> float:
    if len(values) < 4:
        return 0.0
    steps = [b - a for a, b in pairwise(values)]
    middle = statistics.median(steps)
    spread = _MAD * statistics.median(abs(s - middle) for s in steps)
    # Of few points the median is a guess: the later steps, past the first rise, have a say too.
    late = steps[len(steps) // 2 :]
    return max(spread, math.sqrt(statistics.fmean(s * s for s in late))) / math.sqrt(2)


def _line(values: Sequence[float]) -> tuple[float, float]:
    """The slope of a straight line through the values, and its standard error."""
    n = len(values)
    if n < 3:
        return 0.0, math.inf
    middle, mean = (n - 1) / 2, statistics.fmean(values)
    spread = sum((i - middle) ** 2 for i in range(n))
    slope = sum((i - middle) * (v - mean) for i, v in enumerate(values)) / spread
    left = sum((v - mean - slope * (i - middle)) ** 2 for i, v in enumerate(values))
    return slope, math.sqrt(max(left, 0.0) / (n - 2) / spread)
