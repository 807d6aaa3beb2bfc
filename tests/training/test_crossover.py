"""Which tensors a module has, how images are divided, and which swaps are accepted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.training.crossover import MARGIN, grafted, greedy, groups, halves, members
from deploytk.training.sweetspots import spot


@given(st.integers(2, 300), st.integers(0, 9))
def test_the_parts_are_disjoint_and_all_of_it_and_the_same_for_a_seed(count: int, seed: int) -> None:
    choosing, held_out = halves(count, seed)
    assert sorted([*choosing, *held_out]) == list(range(count))
    assert 0 <= len(choosing) - len(held_out) <= 1
    assert halves(count, seed) == (choosing, held_out)


def test_one_image_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="1 validation image"):
        halves(1, 0)


def test_modules_are_read_as_they_are_written() -> None:
    assert groups("backbone=model.0-2, head = cls+model.22") == {
        "backbone": ["model.0", "model.1", "model.2"],
        "head": ["cls", "model.22"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backbone", "write NAME=PREFIX"),
        ("=model.1", "write NAME=PREFIX"),
        ("a=x,", "write NAME=PREFIX"),
        ("a=x,a=y", "named twice"),
        ("a=model.9-2", "from a smaller to a larger"),
        ("a=model.0-99999999", "from a smaller to a larger"),
    ],
)
def test_modules_that_cannot_be_read_are_told(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        groups(text)


NAMES = ["model.1.w", "model.10.w", "model.10.b", "cls"]


def test_a_prefix_ends_at_a_dot() -> None:
    assert members(NAMES, {"a": ["model.1"], "b": ["model.10"], "c": ["cls"]}) == {
        "a": ["model.1.w"],
        "b": ["model.10.w", "model.10.b"],
        "c": ["cls"],
    }


def test_layers_without_tensors_are_no_error_and_a_module_without_any_is() -> None:
    assert members(NAMES, {"a": ["model.1", "model.2"]}) == {"a": ["model.1.w"]}
    with pytest.raises(InputError, match=r"a: no tensor is called modell\.1"):
        members(NAMES, {"a": ["modell.1"]})
    with pytest.raises(InputError, match=r"model\.10\.w is in a and in b"):
        members(NAMES, {"a": ["model.10"], "b": ["model"]})


def test_a_graft_changes_the_named_tensors_and_neither_model() -> None:
    base, donor = {"a": np.zeros(2), "b": np.zeros(2)}, {"a": np.ones(2), "b": np.ones(2)}
    found = grafted(base, donor, ["b"])
    assert (found["a"].sum(), found["b"].sum(), base["b"].sum()) == (0, 2, 0)


def spots_of(**peaks: tuple[int, float]) -> list[object]:
    """Modules at home in epoch 9 (0.5), with the epoch and the score of the peak."""
    return [spot(name, {epoch: score, 9: 0.5}, home=9, reference=0.5) for name, (epoch, score) in peaks.items()]


def test_the_most_promising_is_tried_first_and_kept_where_the_score_rises() -> None:
    worth = {"head": 0.6, "head+neck": 0.55, "backbone+head": 0.65}

    def score_of(origin: Mapping[str, int]) -> float:
        return worth["+".join(sorted(m for m, e in origin.items() if e != 9))]

    found = greedy(
        spots_of(backbone=(3, 0.51), neck=(4, 0.55), head=(5, 0.6)), home=9, start=0.5, score_of=score_of  # type: ignore[arg-type]
    )  # fmt: skip
    assert [(t.module, t.accepted) for t in found.tried] == [("head", True), ("neck", False), ("backbone", True)]
    assert (found.origin, found.score, found.swapped) == ({"backbone": 3, "neck": 9, "head": 5}, 0.65, True)


def test_what_promises_nothing_is_not_tried() -> None:
    found = greedy(spots_of(head=(3, 0.4), neck=(9, 0.5)), home=9, start=0.5, score_of=lambda _: 1.0)  # type: ignore[arg-type]
    assert (found.tried, found.swapped, found.score) == ((), False, 0.5)


def test_a_gain_within_the_margin_is_none() -> None:
    near = greedy(spots_of(head=(3, 0.6)), home=9, start=0.5, score_of=lambda _: 0.5 + MARGIN)  # type: ignore[arg-type]
    assert (near.swapped, near.origin) == (False, {"head": 9})


@given(st.lists(st.tuples(st.integers(1, 8), st.floats(0, 1)), max_size=6), st.randoms(use_true_random=False))
def test_greedy_never_lowers_the_score_whatever_the_scores_are(peaks: list[tuple[int, float]], random: object) -> None:
    seen: dict[tuple[tuple[str, int], ...], float] = {}

    def score_of(origin: Mapping[str, int]) -> float:
        return seen.setdefault(tuple(sorted(origin.items())), random.random())  # type: ignore[attr-defined]

    found = greedy(
        spots_of(**{f"m{i}": peak for i, peak in enumerate(peaks)}), home=9, start=0.5, score_of=score_of  # type: ignore[arg-type]
    )  # fmt: skip
    assert found.score >= 0.5
    if found.swapped:
        assert found.score == seen[tuple(sorted(found.origin.items()))] > 0.5 + MARGIN
    else:
        assert set(found.origin.values()) <= {9}
