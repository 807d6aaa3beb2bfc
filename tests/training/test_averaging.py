"""Means of weights, and the greedy soup."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deploytk.errors import InputError
from deploytk.training.averaging import greedy_soup, mean

FLOATS = arrays.arrays(np.float32, (3, 2), elements=st.floats(-(2.0**99), 2.0**99, width=32))


@given(FLOATS, st.integers(1, 7))
def test_the_mean_of_equal_models_is_the_model_bit_for_bit(values: np.ndarray, times: int) -> None:
    model = {"weight": values, "seen": np.array(3)}
    found = mean([model] * times)
    assert found["weight"].dtype == np.float32
    assert found["weight"].tobytes() == (values + np.float32(0)).tobytes()  # -0 and 0 are the same
    assert found["seen"] == 3


@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_the_mean_lies_between_the_models(values: list[np.ndarray]) -> None:
    found = mean([{"weight": v} for v in values])["weight"]
    assert (found >= np.min(values, axis=0)).all()
    assert (found <= np.max(values, axis=0)).all()


def test_counters_are_not_averaged() -> None:
    assert mean([{"seen": np.array(3)}, {"seen": np.array(8)}])["seen"] == 3


def test_checkpoints_of_two_networks_are_refused() -> None:
    with pytest.raises(InputError, match="weight differs"):
        mean([{"weight": np.zeros(2)}, {"weight": np.zeros(3)}])


def test_the_soup_takes_in_what_does_not_hurt() -> None:
    worth = {(7,): 0.5, (7, 5): 0.6, (7, 5, 6): 0.4, (7, 5, 2): 0.6}
    assert greedy_soup([7, 5, 6, 2], lambda epochs: worth[tuple(epochs)]) == ([7, 5, 2], 0.6)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_the_soup_is_never_worse_than_its_first(ranked: list[int], random: object) -> None:
    scores: dict[tuple[int, ...], float] = {}

    def score_of(epochs: object) -> float:
        return scores.setdefault(tuple(epochs), random.random())  # type: ignore[arg-type, attr-defined]

    taken, score = greedy_soup(ranked, score_of)
    assert score == scores[tuple(taken)] >= scores[ranked[0],]
