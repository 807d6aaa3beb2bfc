"""How right a pipeline is: the rule of matching, the numbers of each stage, and what two pipelines say alike."""

from __future__ import annotations

import numpy as np
import pytest

from deploytk.pipelines.accuracy import Alike, Score, Truth, average_precision, taken
from deploytk.pipelines.running import Recognised

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (80, 80, 90, 90)


def said(*found: tuple[tuple[float, ...], float, str | None]) -> Recognised:
    """Boxes with a score and a name, of which the classifier is sure by 0.5; None: not classified."""
    names = tuple((name, "other") for _, _, name in found if name is not None)
    return Recognised(
        boxes=np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], np.float32),
        labels=("thing",) * len(found),
        names=names,
        probabilities=np.full((len(names), 2), 0.5, np.float32),
        candidates=len(found),
        ms={},
    )


def truth(*objects: tuple[tuple[float, ...], str]) -> Truth:
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    return Truth(boxes=boxes, names=tuple(name for _, name in objects))


def scored(found: Recognised, real: Truth, on_objects: list[tuple[str, ...]] | None = None) -> dict[str, float]:
    score = Score()
    score.add(found, on_objects or [(name,) for name in real.names], real)
    return score.as_dict()


def test_the_more_certain_box_takes_the_object_though_another_fits_better() -> None:
    boxes = np.array([(0, 0, 10, 10), (0, 0, 10, 8)], np.float32)  # the second is more certain, and fits worse
    assert taken(boxes, np.array([0.5, 0.9]), np.array([A], np.float32)).tolist() == [-1, 0]


def test_a_box_whose_best_object_is_gone_takes_the_next_that_is_free() -> None:
    objects = np.array([(0, 0, 10, 10), (2, 0, 12, 10)], np.float32)
    boxes = np.array([(0, 0, 10, 10), (0.5, 0, 10.5, 10)], np.float32)
    assert taken(boxes, np.array([0.9, 0.8]), objects).tolist() == [0, 1]
    assert taken(boxes[:0], np.empty(0), objects).tolist() == []
    assert taken(boxes, np.array([0.9, 0.8]), objects[:0]).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("confidences", "right", "objects", "expected"),
    [
        ([0.9, 0.8], [True, True], 2, 1.0),
        ([0.9, 0.8], [False, True], 1, 0.5),
        ([0.9, 0.8, 0.7], [True, False, True], 2, (1 + 2 / 3) / 2),
        ([0.8, 0.9], [True, False], 1, 0.5),  # in the order of the confidence, not in that they are given
        ([0.9], [True], 4, 0.25),
        ([], [], 3, 0.0),
        ([0.9], [False], 0, None),
    ],
)
def test_average_precision(confidences: list[float], right: list[bool], objects: int, expected: float | None) -> None:
    assert average_precision(confidences, right, objects) == (None if expected is None else pytest.approx(expected))


def test_a_wrong_name_costs_the_whole_and_not_the_detector() -> None:
    told = scored(said((A, 0.9, "x"), (B, 0.8, "x")), truth((A, "x"), (B, "y")))
    assert (told["detector_mAP50"], told["detector_recall"], told["classifier_top1"]) == (1, 1, 1)
    assert told["found_and_named"] == 0.5
    assert told["mAP50"] == pytest.approx((1 + 0) / 2)  # x is right and once too often, later; y was never said


def test_a_box_beside_everything_costs_precision_and_a_name_that_is_nowhere_has_no_part_in_the_mean() -> None:
    told = scored(said((FAR, 0.9, "z"), (A, 0.8, "x")), truth((A, "x")))
    assert told["detector_mAP50"] == pytest.approx(0.5) and told["mAP50"] == 1 and told["names"] == 1


def test_a_box_without_a_name_is_found_and_not_named() -> None:
    told = scored(said((A, 0.9, "x"), (B, 0.8, None)), truth((A, "x"), (B, "x")))
    assert (told["detector_recall"], told["found_and_named"], told["mAP50"]) == (1, 0.5, 0.5)


def test_the_classifier_is_judged_on_the_true_boxes() -> None:
    told = scored(said(), truth((A, "x"), (B, "y")), [("x", "y"), ("x", "y")])
    assert (told["classifier_top1"], told["classifier_top5"], told["detector_recall"]) == (0.5, 1, 0)
    empty = scored(said((A, 0.9, "x")), truth())
    assert empty["mAP50"] is empty["classifier_top1"] is None and empty["detector_mAP50"] is None


def test_two_pipelines_agree_box_by_box_and_name_by_name() -> None:
    alike = Alike()
    alike.add(said((A, 0.9, "x"), (B, 0.8, "y")), said((A, 0.7, "x"), (B, 0.9, "y")))
    alike.add(said((A, 0.9, "x"), (FAR, 0.5, "x")), said((A, 0.7, "y")))
    told = alike.as_dict()
    assert (told["images"], told["same"], told["partners"], told["names"]) == (2, 1, 3, 2)
    assert told["same_boxes"] == pytest.approx(6 / 7) and told["same_names"] == pytest.approx(2 / 3)
