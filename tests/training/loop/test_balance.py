"""Rare classes: weights by the effective number of images, and epochs drawn by them."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from deploytk.training.loop import balance, batches


def test_weights_follow_the_effective_number_and_keep_the_size_of_the_loss() -> None:
    counts = np.array([1000, 100, 1, 0])
    found = balance.weights(counts)
    assert (found * counts).sum() == pytest.approx(counts.sum())
    assert found[1] / found[0] == pytest.approx((1 - 0.999**1000) / (1 - 0.999**100))
    assert found[3] == 0


def test_an_epoch_draws_each_image_about_as_often_as_its_weight_says() -> None:
    counts = np.array([90, 9, 1])
    labels = np.repeat([0, 1, 2], counts)
    weights = balance.weights(counts)[labels]
    drawn = balance.drawn(weights, np.random.default_rng(0))
    times = np.bincount(drawn, minlength=100)
    assert len(drawn) == 100 and (np.abs(times - weights) < 1).all()
    assert np.ptp(np.bincount(labels[drawn])) <= 4


def test_an_image_drawn_again_is_varied_anew_and_an_epoch_is_the_same_each_time() -> None:
    weights = balance.weights(np.array([20, 1]))[np.repeat([0, 1], [20, 1])]
    planned = [batches.plan(21, batch=4, accumulate=2, seed=1, epoch=3, weights=weights) for _ in range(2)]
    keys = [key for step in planned[0] for batch in step for key in batch]
    assert planned[0] == planned[1] and len(keys) == len(set(keys)) == 21
    assert sorted(key for key in keys if key[1] == 20)[:2] == [(3, 20), (3, 20, 1)]
    halved = batches.plan(21, batch=2, accumulate=4, seed=1, epoch=3, weights=weights)
    assert [list(chain(*step)) for step in halved] == [list(chain(*step)) for step in planned[0]]


def test_a_batch_is_cut_into_a_part_for_each_process() -> None:
    keys = [(1, i) for i in range(7)]
    assert [len(part) for part in batches.parts(keys, 3)] == [2, 2, 3]
    assert list(chain(*batches.parts(keys, 3))) == keys
