"""ROUGE that is right for Korean, its intervals, and two systems on the same samples."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.text import rouge

KOREAN = "오늘 날씨가 정말 좋네요"
words = st.lists(st.text("가나다라마바abc", min_size=1, max_size=4), min_size=2, max_size=12).map(" ".join)


@pytest.mark.parametrize("tokenizer", ["whitespace", "character"])
def test_equal_korean_sentences_are_equal(tokenizer: Any) -> None:
    assert rouge.scored([KOREAN], [KOREAN], tokenizer).means == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}


def test_with_the_librarys_own_tokenizer_they_are_not() -> None:
    """Why there is a tokenizer of ours."""
    from rouge_score.rouge_scorer import RougeScorer

    assert RougeScorer(["rouge1"]).score(KOREAN, KOREAN)["rouge1"].fmeasure == 0.0


def test_known_values() -> None:
    # Of 4 words and 3: two in common (in order), one pair of neighbours of 3 and 2.
    told = rouge.scored(["the cat sat down"], ["the cat ran"], "whitespace").means
    assert told == pytest.approx({"rouge1": 2 * 2 / 7, "rouge2": 2 * 1 / 5, "rougeL": 2 * 2 / 7})
    assert rouge.scored(["좋아요"], ["좋아"], "whitespace").means["rouge1"] == 0.0
    assert rouge.scored(["좋아요"], ["좋아"], "character").means["rouge1"] == pytest.approx(2 * 2 / 5)


def test_the_same_letters_in_other_code_points_are_the_same() -> None:
    assert rouge.scored([unicodedata.normalize("NFD", KOREAN)], [KOREAN], "character").means["rouge1"] == 1.0
    assert rouge.scored(["HELLO"], ["hello"], "whitespace").means["rouge1"] == 1.0


def test_a_models_own_tokenizer_is_asked() -> None:
    class Halves:
        def tokenize(self, text: str) -> list[str]:
            return [text[:2], text[2:]]

    assert rouge.scored(["abcd"], ["abxx"], "model", Halves()).means["rouge1"] == pytest.approx(0.5)
    with pytest.raises(InputError, match="needs the model's own tokenizer"):
        rouge.scored(["a"], ["a"], "model")


@given(st.lists(st.tuples(words, words), min_size=1, max_size=8), st.randoms())
def test_scores_are_shares_and_their_mean_is_in_its_interval(pairs: list[tuple[str, str]], chance: Any) -> None:
    answers, references = map(list, zip(*pairs, strict=True))
    told = rouge.scored(answers, references, "whitespace")

    for name, mean in told.means.items():
        low, high = told.intervals()[name]
        assert -1e-9 <= low <= high <= 1 + 1e-9
        assert min(told.each[name]) - 1e-9 <= mean <= max(told.each[name]) + 1e-9
    again = rouge.scored(*map(list, zip(*chance.sample(pairs, len(pairs)), strict=True)), "whitespace")
    assert again.means == pytest.approx(told.means)
    assert rouge.scored(references, references, "whitespace").means["rouge1"] == 1.0


def test_two_systems_are_told_apart_on_the_same_samples() -> None:
    noise = np.random.default_rng(0).uniform(0.2, 0.8, 200)
    jitter = np.random.default_rng(1).normal(0, 0.05, 200)

    better = rouge.difference(noise + 0.05 + jitter, noise)
    alike = rouge.difference(noise + jitter, noise)

    assert better.told == "better" and better.interval[0] > 0
    assert rouge.difference(noise, noise + 0.05 + jitter).told == "worse"
    assert alike.told == "not told apart" and alike.interval[0] < 0 < alike.interval[1]


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    chance = np.random.default_rng(2)
    hit = 0
    for _ in range(200):
        low, high = rouge.difference(chance.normal(0.3, 0.2, 80), np.zeros(80)).interval
        hit += low <= 0.3 <= high
    assert 180 <= hit <= 199


def test_scores_that_are_no_measure_of_the_same_are_not_compared() -> None:
    words_, characters = (rouge.scored(["가 나"], ["가 나"], kind) for kind in ("whitespace", "character"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="different measures"):
        rouge.compared(words_, characters)
    with pytest.raises(InputError, match="scores of 1 and of 2 samples"):
        rouge.compared(words_, rouge.scored(["가", "나"], ["가", "나"], "whitespace"))
    with pytest.raises(InputError, match="0 and 0 are there"):
        rouge.scored([], [], "whitespace")
