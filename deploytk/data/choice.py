"""Which images are chosen: every class, the rarest first, then evenly over the brightness; by seed, always the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

#: With fewer images the ranges of an INT8 model are guesses.
LEAST_TRAIN = 8


def covering(labels: Sequence[Collection[int]], order: Sequence[int]) -> list[int]:
    """For each class, the rarest first, the first image in `order` that has it, unless one chosen before has it.

    Args:
        labels: the classes of each image.
    """
    images = Counter(label for each in labels for label in set(each))
    chosen: list[int] = []
    covered: set[int] = set()
    for label in sorted(images, key=lambda name: (images[name], name)):
        if label not in covered:
            index = next(i for i in order if label in labels[i])
            chosen.append(index)
            covered |= set(labels[index])
    return chosen


def drawn(labels: Sequence[Collection[int]], count: int, seed: int) -> list[int]:
    """`count` images (all where there are fewer), the same for the same seed: first those that `covering` chooses.

    Args:
        labels: the classes of each image.
    """
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    return list(dict.fromkeys([*covering(labels, order), *order]))[:count]


def spread(brightness: Sequence[float], first: Sequence[int], count: int, order: Sequence[int]) -> list[int]:
    """`count` images: those of `first`, and with them one of each part of the brightness that they leave empty.

    The parts are quantiles: all images by brightness, cut into `count` parts of equal size. The images that are added
    come in the order of `order`, so that a beginning of them is spread too.
    """
    chosen = list(first[:count])
    ranked = sorted(order, key=lambda i: brightness[i])
    cuts = [len(ranked) * part // count for part in range(count + 1)]
    parts = [ranked[begin:end] for begin, end in pairwise(cuts)]
    empty = [part for part in parts if not set(part) & set(chosen)]
    place = {index: n for n, index in enumerate(order)}
    added = [min(empty[i], key=place.__getitem__) for i in _evenly(len(empty), count - len(chosen))]
    return [*chosen, *sorted(added, key=place.__getitem__)]


def _evenly(length: int, count: int) -> list[int]:
    """`count` different places among `length`, the first and the last among them where there are two or more."""
    if count < 2:
        return [(length - 1) // 2] * count
    return [round(n * (length - 1) / (count - 1)) for n in range(count)]
