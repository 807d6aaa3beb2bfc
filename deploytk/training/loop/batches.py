"""Which images make up each optimizer step of an epoch, and how they are cut into batches that fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deploytk.training.loop import balance

#: An image in an epoch: (epoch, index), and where it is drawn again (epoch, index, which time). What is drawn for it
#: depends on them and on nothing else.
Key = tuple[int, ...]
#: One optimizer step: its batches.
Step = list[list[Key]]


def plan(
    images: int, *, batch: int, accumulate: int, seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> list[Step]:
    """The steps of an epoch, each as its batches; every image is in one of them, or as often as its weight says.

    Steps depend on batch x accumulate alone: after a lack of memory has halved the batch they are what they were. All
    steps, and all batches of a step, are as large as each other to within one image: a last batch with one image would
    have no statistics for BatchNorm.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(images) if weights is None else balance.drawn(weights, random)
    steps = _cut(_keys(epoch, order.tolist()), batch * accumulate)
    return [_cut(step, batch) for step in steps]


def parts(batch: Sequence[Key], processes: int) -> list[list[Key]]:
    """A batch cut into a part for each process, as large as each other to within one image."""
    return _equal(batch, processes)


def _keys(epoch: int, order: Sequence[int]) -> list[Key]:
    times: Counter[int] = Counter()
    keys: list[Key] = []
    for index in order:
        keys.append((epoch, index, times[index]) if times[index] else (epoch, index))
        times[index] += 1
    return keys


def _cut(keys: Sequence[Key], at_most: int) -> list[list[Key]]:
    return _equal(keys, -(-len(keys) // at_most))


def _equal(keys: Sequence[Key], pieces: int) -> list[list[Key]]:
    ends = [len(keys) * n // pieces for n in range(pieces + 1)]
    return [list(keys[a:b]) for a, b in pairwise(ends)]


@dataclass
class Order:
    """The batches of the epoch that `steps` holds, for a DataLoader that lives longer than an epoch."""

    steps: list[Step]

    def __iter__(self) -> Iterator[list[Key]]:
        """Each batch of each step."""
        for step in self.steps:
            yield from step

    def __len__(self) -> int:
        """How many batches there are."""
        return sum(map(len, self.steps))
