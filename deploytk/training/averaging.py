"""Weights averaged over checkpoints: the plain mean, and the greedy soup that takes in only what does not hurt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deploytk.errors import InputError

#: Arrays by tensor name.
Weights = dict[str, np.ndarray]


def mean(models: Sequence[Weights]) -> Weights:
    """The mean of each tensor; what is not floating point (counters) is that of the first model.

    The sum is kept in float64, so that equal models give themselves, bit for bit.

    Raises:
        InputError: the models do not have the same tensors.
    """
    require_alike(models)
    first = models[0]
    return {name: _mean([m[name] for m in models]) for name in first}


def require_alike(models: Sequence[Weights]) -> None:
    """Nothing, where all models have tensors of the same names and shapes.

    Raises:
        InputError: they do not.
    """
    shapes = [{name: array.shape for name, array in m.items()} for m in models]
    for other in shapes[1:]:
        if other != shapes[0]:
            odd = next(iter(sorted(set(shapes[0].items()) ^ set(other.items()), key=str)))
            raise InputError(f"these checkpoints are not of one network: {odd[0]} differs; train into a new folder")


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    first = arrays[0]
    if not np.issubdtype(first.dtype, np.floating):
        return first
    total = np.zeros(first.shape, dtype=np.float64)
    for array in arrays:
        total += array
    return np.asarray(total / len(arrays)).astype(first.dtype)


def greedy_soup(ranked: Sequence[int], score_of: Callable[[Sequence[int]], float]) -> tuple[list[int], float]:
    """(the epochs whose mean is the greedy soup, its score): Wortsman et al. 2022, arXiv 2203.05482, recipe 1.

    Args:
        ranked: epochs, the best first.
        score_of: the score of the mean of some epochs; higher is better.
    """
    taken, best = [ranked[0]], score_of([ranked[0]])
    for epoch in ranked[1:]:
        score = score_of([*taken, epoch])
        if score >= best:
            taken, best = [*taken, epoch], score
    return taken, best
