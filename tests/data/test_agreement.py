"""Distances between outputs, classes and boxes that agree, and outputs that cannot be right."""

from __future__ import annotations

import numpy as np
import pytest

from deploytk.data import agreement
from deploytk.data.detections import Detections

RNG = np.random.default_rng(0)
OUTPUTS = RNG.random((2, 7, 84)).astype(np.float32)


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """x1, y1, x2, y2, score, class of each."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        boxes=table[:, :4].astype(np.float32),
        scores=table[:, 4].astype(np.float32),
        labels=table[:, 5].astype(np.int64),
        candidates=len(table),
    )


def test_equal_outputs_are_beyond_float32() -> None:
    far = agreement.distance(OUTPUTS, OUTPUTS.copy())
    assert (far.sqnr_db, far.max_abs, far.mean_abs) == (200.0, 0.0, 0.0)
    assert far.cosine == pytest.approx(1.0)


def test_a_tenth_of_noise_is_twenty_decibels() -> None:
    far = agreement.distance(OUTPUTS, 1.1 * OUTPUTS)
    assert far.sqnr_db == pytest.approx(20.0, abs=0.01)
    assert far.cosine == pytest.approx(1.0)
    assert far.max_abs == pytest.approx(0.1 * OUTPUTS.max(), rel=1e-4)


def test_distances_of_parts_add_up_to_that_of_the_whole() -> None:
    noisy = OUTPUTS + RNG.normal(0, 0.1, OUTPUTS.shape)
    whole = agreement.distance(OUTPUTS, noisy)
    parts = agreement.distance(OUTPUTS[:1], noisy[:1]) + agreement.distance(OUTPUTS[1:], noisy[1:])
    assert parts.as_dict() == pytest.approx(whole.as_dict())


def test_zeros_of_a_living_model_are_far_off_and_so_is_life_of_a_dead_one() -> None:
    zeros = np.zeros_like(OUTPUTS)
    assert agreement.distance(OUTPUTS, zeros).sqnr_db == pytest.approx(0.0)
    assert agreement.distance(zeros, OUTPUTS).sqnr_db == -200.0
    assert agreement.distance(OUTPUTS, zeros).cosine == 0.0


def test_what_cannot_be_right_is_said_in_words() -> None:
    assert not agreement.wrong(OUTPUTS, OUTPUTS + 1)
    assert "shape" in agreement.wrong(OUTPUTS, OUTPUTS[:, :5])
    assert "NaN" in agreement.wrong(OUTPUTS, np.full_like(OUTPUTS, np.nan))
    assert "source model's own" in agreement.wrong(np.full_like(OUTPUTS, np.nan), OUTPUTS)
    assert "collapsed" in agreement.wrong(OUTPUTS, np.zeros_like(OUTPUTS))


def test_scores_that_a_too_large_scale_rounds_to_zero_have_collapsed() -> None:
    scores = OUTPUTS[:, 4:]
    rounded = np.round(scores / 3.33) * 3.33  # an output scale of 3.33 zeroes every score
    assert "collapsed" in agreement.wrong(scores, rounded)
    one = scores.copy()
    one[:, 1] = 0.5
    assert "class 1" in agreement.collapsed(scores, one)


def test_a_class_that_the_source_does_not_find_either_has_not_collapsed() -> None:
    quiet = OUTPUTS[:, 4:] * 0.01
    assert agreement.collapsed(quiet, np.zeros_like(quiet)) == ""


def test_the_same_most_probable_class() -> None:
    expected = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])
    assert agreement.top1(expected, np.array([[0.4, 0.6], [0.8, 0.2], [0.4, 0.6]])) == 2


def test_boxes_find_their_partner_of_the_same_class_once() -> None:
    mine = boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0), (50, 50, 60, 60, 0.9, 1))
    theirs = boxes((0, 0, 10, 9.5, 0.7, 0), (50, 50, 60, 60, 0.9, 2))
    found = agreement.match([mine], [theirs])
    assert (found.boxes, found.iou50, found.iou90) == (3, 1, 1)
    assert found.as_dict()["mean_iou"] == pytest.approx(0.95)


def test_a_partner_may_have_a_lower_score_than_the_threshold() -> None:
    assert agreement.match([boxes((0, 0, 8, 8, 0.26, 0))], [boxes((0, 0, 8, 8, 0.2, 0))]).iou90 == 1
    assert agreement.match([boxes((0, 0, 8, 8, 0.2, 0))], [boxes((0, 0, 8, 8, 0.26, 0))]).boxes == 0


def test_no_boxes_have_no_share() -> None:
    found = agreement.match([boxes()], [boxes((0, 0, 8, 8, 0.9, 0))])
    assert found.as_dict() == {"boxes": 0, "iou50": None, "iou90": None, "mean_iou": None}
