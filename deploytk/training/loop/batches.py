"""Which images make up each optimizer step of an epoch, and how they are cut into batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: An image in an epoch: (epoch, index). What is drawn for it depends on both and on nothing else.
Key = tuple[int, int]
#: One optimizer step: its batches.
Step = list[list[Key]]


def plan(images: int, *, batch: int, accumulate: int, seed: int, epoch: int) -> list[Step]:
    """The steps of an epoch, each as its batches; every image is in one of them.

    Steps depend on batch x accumulate alone: after a lack of memory has halved the batch they are what they were. All
    steps, and all batches of a step, are as large as each other to within one image: a last batch with one image would
    have no statistics for BatchNorm.
    """
    order = np.random.default_rng([seed, epoch]).permutation(images)
    steps = _cut([(epoch, int(i)) for i in order], batch * accumulate)
    return [_cut(step, batch) for step in steps]


def _cut(keys: Sequence[Key], at_most: int) -> list[list[Key]]:
    pieces = -(-len(keys) // at_most)
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
