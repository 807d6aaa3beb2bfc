"""Mean, vote and stacking of classifiers' probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.ensemble import classes
from deploytk.ensemble.classes import averaged, stacked, voted
from deploytk.errors import InputError


def drawn(seed: int, models: int, samples: int, count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    return [chance.dirichlet(np.ones(count), samples) for _ in range(models)]


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(0, 5), st.integers(2, 4))
def test_mean_and_vote_are_distributions(seed: int, models: int, samples: int, count: int) -> None:
    given_ = drawn(seed, models, samples, count)
    for told in (averaged(given_), voted(given_), voted(given_, [2.0, 1.0, 1.0, 1.0][:models])):
        assert told.shape == (samples, count) and (told >= 0).all()
        assert told.sum(1) == pytest.approx(np.ones(samples))


@given(st.integers(0, 1000), st.integers(1, 5))
def test_the_vote_is_the_most_frequent_class_then_the_most_probable(seed: int, models: int) -> None:
    given_ = drawn(seed, models, 6, 3)
    for sample, told in enumerate(voted(given_)):
        tops = [int(one[sample].argmax()) for one in given_]
        expected = max(range(3), key=lambda c: (tops.count(c), np.mean([one[sample, c] for one in given_])))
        assert told.argmax() == expected


def test_one_model_keeps_its_probabilities_in_the_mean() -> None:
    (alone,) = drawn(0, 1, 5, 3)
    assert averaged([alone]) == pytest.approx(alone)


def test_weights_count() -> None:
    one, other = np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])
    assert averaged([one, other], [3, 1]) == pytest.approx(np.array([[0.725, 0.275]]))
    assert voted([one, other, other], [3, 1, 1]).argmax() == 0 and voted([one, other, other]).argmax() == 1
    # A tie of 0.1 + 0.2 and 0.3 is one, and the mean probability decides it.
    assert voted([one, one, np.array([[0.0, 1.0]])], [0.1, 0.2, 0.3]).argmax() == 1


def test_stacking_learns_which_model_to_believe() -> None:
    """One model is right and unsure, the other sure and wrong half the time: their mean is worse than the first."""
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 3, 120)
    right = np.full((120, 3), 0.25)
    right[np.arange(120), truth] = 0.5
    sure = np.full((120, 3), 0.01)
    sure[np.arange(120), np.where(chance.random(120) < 0.5, truth, (truth + 1) % 3)] = 0.98
    told = stacked([right, sure], truth)
    assert (averaged([right, sure]).argmax(1) == truth).mean() < 0.7
    assert (told.probabilities.argmax(1) == truth).all() and told.stratified
    assert told.probabilities.sum(1) == pytest.approx(np.ones(120))
    assert told.learnt.applied([right, sure]).argmax(1).tolist() == truth.tolist()
    kept = json.loads(json.dumps(told.learnt.as_dict()))
    assert (len(kept["coefficients"]), len(kept["coefficients"][0]), len(kept["intercepts"])) == (3, 6, 3)


def test_what_was_learnt_is_what_scikit_learn_learnt() -> None:
    from sklearn.linear_model import LogisticRegression

    for count in (2, 3):
        rows, truth = drawn(1, 2, 60, count), np.arange(60) % count
        features = np.log(np.concatenate(rows, axis=1))
        expected = LogisticRegression(max_iter=500).fit(features, truth).predict_proba(features)
        assert stacked(rows, truth).learnt.applied(rows) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_a_samples_own_label_never_trains_what_answers_it(count: int) -> None:
    """Labels that are pure chance cannot be answered; with its own label each of them could."""
    chance = np.random.default_rng(2)
    rows = [chance.dirichlet(np.ones(4), 20)]
    truth = chance.integers(0, count, 20)
    seen = []
    before = classes._learnt

    def watched(some: np.ndarray, labels: np.ndarray) -> classes.Learnt:
        seen.append(some[0])
        return before(some, labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classes, "_learnt", watched)
        told = stacked(rows, truth, folds=4)
    assert [len(some) for some in seen] == [15] * 4 + [20]
    for sample in range(0, 20, 3):
        blind = [before(s[None], labels_of(s, rows[0], truth)) for s in seen[:4] if not holds(s, rows[0][sample])]
        assert len(blind) == 1
        assert blind[0].applied([rows[0][sample : sample + 1]])[0] == pytest.approx(told.probabilities[sample])


def holds(some: np.ndarray, row: np.ndarray) -> bool:
    return bool((some == row).all(1).any())


def labels_of(some: np.ndarray, rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.array([truth[np.flatnonzero((rows == row).all(1))[0]] for row in some])


def test_rare_classes_are_answered_without_stratifying() -> None:
    rows, truth = drawn(3, 2, 20, 4), np.array([0] * 19 + [1])
    told = stacked(rows, truth)
    assert not told.stratified and told.folds == 5
    assert (told.probabilities[:, 2:] == 0).all()  # no sample of these
    assert told.probabilities[19].tolist() == [1, 0, 0, 0]  # the other folds know one class alone


def test_what_cannot_be_learnt_is_said() -> None:
    rows = drawn(0, 2, 9, 3)
    with pytest.raises(InputError, match="needs 10 labelled samples or more; 9 are there"):
        stacked(rows, np.arange(9) % 3)
    with pytest.raises(InputError, match="all samples are of one"):
        stacked(drawn(0, 2, 20, 3), np.zeros(20, np.int64))
    with pytest.raises(InputError, match="3 labels for the probabilities of 9"):
        stacked(rows, np.arange(3))


def test_probabilities_that_do_not_belong_together() -> None:
    one, other = np.zeros((2, 3)), np.zeros((2, 4))
    with pytest.raises(InputError, match=r"\[2, 3\], \[2, 4\]"):
        averaged([one, other])
    with pytest.raises(InputError, match="no model"):
        voted([])
    with pytest.raises(InputError, match="1 weights for 2 models"):
        averaged([one, one], [1.0])
