"""Rare classes made to count: a weight for each class, and an epoch in which images are drawn by such weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: How much a further image of a class that has many still adds. At 0.999 a class of 1000 images counts as one of 632.
BETA = 0.999


def weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weight of each class; over all images of an epoch their mean is 1.

    A class of n images has the weight 1 / E(n) with E(n) = (1 - BETA ** n) / (1 - BETA), its effective number of
    images (Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", arXiv 1901.05555): nearly
    1 / n for classes of up to some hundred images, and never less than 1 - BETA. The paper makes the weights' sum the
    number of classes; here the loss keeps its size, so that a learning rate stays what it was.

    Args:
        counts: training images of each class; a class without any has the weight 0.
    """
    there = counts > 0
    effective = np.where(there, -np.expm1(counts * np.log(BETA)) / (1 - BETA), 1.0)
    found = np.where(there, 1 / effective, 0.0)
    return np.asarray(found * counts.sum() / max(float((found * counts).sum()), 1e-12))


def drawn(weights: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """An epoch of as many images as there are, in random order, each drawn about as often as its weight says.

    Systematic sampling: an image of weight 2.3 is drawn twice or three times, never once or five times.

    Args:
        weights: one for each image; their mean is 1.
    """
    order = random.permutation(len(weights))
    ends = np.cumsum(weights[order])
    at = (random.random() + np.arange(len(weights))) * (ends[-1] / len(weights))
    return np.asarray(random.permutation(order[np.searchsorted(ends, at, side="right").clip(max=len(weights) - 1)]))
