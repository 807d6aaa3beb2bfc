"""Which optimization profile of an engine a batch size runs in, and the shapes of the inputs in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.runtimes import FixedBatch


@dataclass(frozen=True, kw_only=True)
class Range:
    """The batch sizes that one profile takes, and the one it was tuned for."""

    least: int
    best: int
    most: int

    def takes(self, batch: int) -> bool:
        """Whether the batch size is one of them."""
        return self.least <= batch <= self.most

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The profile for one batch size and the shapes of the inputs in it."""

    profile: int
    shapes: Mapping[str, tuple[int, ...]]
    range: Range | None = None  # None where the engine was built for one batch size


def fit(engine: Any, inputs: Sequence[str], batch: int | None, path: Path) -> Fit:
    """The profile that takes `batch` (None: what the first profile is best at) and was tuned nearest to it.

    Raises:
        FixedBatch: no profile takes it.
        InputError: another dimension than the batch is free in the profile.
    """
    free = [name for name in inputs if tuple(engine.get_tensor_shape(name))[:1] == (-1,)]
    if not free:
        _require_own(engine, inputs, batch, path)
        return Fit(profile=0, shapes={name: _shape(engine, name, 0, None, path) for name in inputs})
    ranges = [_range(engine, free, profile) for profile in range(engine.num_optimization_profiles)]
    batch = batch or ranges[0].best
    profile = nearest(ranges, batch)
    if profile is None:
        taken = ", ".join(str(one) for one in ranges)
        raise FixedBatch(f"{path.name}: takes batches of {taken}, not of {batch}")
    shapes = {name: _shape(engine, name, profile, batch, path) for name in inputs}
    return Fit(profile=profile, shapes=shapes, range=ranges[profile])


def nearest(ranges: Sequence[Range], batch: int) -> int | None:
    """The number of the range that takes the batch size and is tuned nearest to it (by ratio), the narrower of two."""
    fitting = [number for number, one in enumerate(ranges) if one.takes(batch)]

    def far(number: int) -> tuple[float, int]:
        one = ranges[number]
        return abs(math.log(one.best / batch)), one.most - one.least

    return min(fitting, key=far, default=None)


def _range(engine: Any, free: Sequence[str], profile: int) -> Range:
    """What all the inputs with a free batch take together."""
    limits = [[int(shape[0]) for shape in engine.get_tensor_profile_shape(name, profile)] for name in free]
    return Range(least=max(one[0] for one in limits), best=limits[0][1], most=min(one[2] for one in limits))


def _require_own(engine: Any, inputs: Sequence[str], batch: int | None, path: Path) -> None:
    shapes = [tuple(engine.get_tensor_shape(name)) for name in inputs]
    own = next((shape[0] for shape in shapes if shape), None)
    if batch is not None and own is not None and own != batch:
        raise FixedBatch(f"{path.name}: built for batch {own} alone, not for {batch}")


def _shape(engine: Any, name: str, profile: int, batch: int | None, path: Path) -> tuple[int, ...]:
    """The shape of one input: its batch filled in, other free dimensions as far as the profile allows one size only."""
    shape = [int(size) for size in engine.get_tensor_shape(name)]
    least, _, most = engine.get_tensor_profile_shape(name, profile) if -1 in shape else ((), (), ())
    for place, size in enumerate(shape):
        if size == -1 and place == 0 and batch is not None:
            shape[place] = batch
        elif size == -1 and least[place] != most[place]:
            raise InputError(
                f"{path}: dimension {place} of its input {name!r} is free, from {least[place]} to {most[place]}; "
                "build it with one size, so that it is known what is measured"
            )
        elif size == -1:
            shape[place] = int(least[place])
    return tuple(shape)
