"""One answer of several: by likeness, by vote, by a reranker that is taught out of fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.ensemble import texts
from deploytk.errors import InputError

ANSWERS = st.lists(st.text("abc ", max_size=6), min_size=1, max_size=6)


def alike(one: str, other: str) -> float:
    """Words in common, over all words."""
    mine, theirs = set(one.split()), set(other.split())
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 1.0


def test_the_answer_most_like_the_others_is_taken() -> None:
    assert texts.by_mutual(["x y", "a b c", "a b d", "a b"], alike) == 3
    assert texts.by_mutual(["a b d", "x y", "a b c"], alike) == 0


def test_of_two_answers_the_first_is_taken() -> None:
    assert texts.by_mutual(["a b", "a c"], alike) == 0


def test_the_most_frequent_answer_wins_whatever_its_white_space_and_code_points() -> None:
    # The same two syllables, composed and in their parts.
    assert texts.by_vote(["no", "\ud55c\uae00  yes", "\u1112\u1161\u11ab\u1100\u1173\u11af yes ", "other"], alike) == 1


def test_a_tie_of_votes_goes_to_the_answer_most_like_all() -> None:
    assert texts.by_vote(["x y", "a b", "a b c"], alike) == 1


@given(ANSWERS)
def test_what_is_chosen_does_not_depend_on_the_order(answers: list[str]) -> None:
    for choose in (texts.by_mutual, texts.by_vote):
        there, back = choose(answers, alike), choose(answers[::-1], alike)
        values = texts.mutual(answers, alike)
        assert values[there] == pytest.approx(texts.mutual(answers[::-1], alike)[back])
    assert values.shape == (len(answers),) and (values >= 0).all() and (values <= 1).all()


def test_each_sample_is_chosen_for_by_a_reranker_that_never_saw_it() -> None:
    """Each model is right half of the time, which only the references tell: out of fold nothing can be learnt."""
    draw = np.random.default_rng(0)
    gains = draw.permutation(np.tile([[1.0, 0.0], [0.0, 1.0]], (50, 1)))
    rows, sources = [["a b", "c d"]] * 100, ["a source"] * 100
    found = texts.stacked(rows, sources, gains, alike, ["one", "two"])
    earned = gains[np.arange(100), list(found.chosen)].mean()
    assert earned < 0.65  # seen by the one that chooses, it would be 1


def test_a_reranker_learns_which_model_and_what_likeness_is_worth() -> None:
    draw = np.random.default_rng(1)
    rows = [["a b", "a b c", "x"] for _ in range(40)]
    gains = np.stack([draw.uniform(0.4, 0.5, 40), draw.uniform(0.6, 0.7, 40), draw.uniform(0, 0.1, 40)], axis=1)
    found = texts.stacked(rows, ["s"] * 40, gains, alike, ["one", "two", "three"])
    assert set(found.chosen) == {1}
    assert len(found.features) == len(found.weights) == 7


def test_too_few_samples_teach_nothing() -> None:
    with pytest.raises(InputError, match="stacking learns from samples and has 3; give --samples 20 or more"):
        texts.stacked([["a", "b"]] * 3, ["s"] * 3, np.zeros((3, 2)), alike, ["one", "two"])
