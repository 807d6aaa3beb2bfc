"""What a converted text model's answers and scores come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploytk.stages import export_text_steps
from deploytk.stages.export_text import _Export

FIRST = {"text": "a", "trained": "b", "converted": "c"}


def exported() -> Any:
    made = object.__new__(_Export)
    made.target, made.reasons = "onnx", []
    return made


@pytest.mark.parametrize(
    ("row", "fails", "said"),
    [
        ({"identical": 1.0, "apart": 1e-7}, False, "100.0% of 20 greedy answers (1 different)"),
        ({"identical": 1.0, "apart": 0.2}, True, "0.2 of their range apart at most, more than 0.05"),
        ({"identical": 1.0, "apart": float("inf")}, True, "inf of their range"),
        ({"identical": 0.9, "apart": 1e-7}, True, "the first that differs: 'a': 'b' became 'c'"),
    ],
)
def test_a_float_model_has_the_same_answers_and_the_same_scores(row: dict[str, Any], fails: bool, said: str) -> None:
    one = exported()
    assert one._float_differs({**row, "samples": 20, "different": 1, "first": FIRST}) is fails
    assert said in one.reasons[0]


class Scored:
    def __init__(self, scores: list[list[float]]) -> None:
        self.scores = np.array(scores, np.float32)

    def first_scores(self, _texts: Any) -> np.ndarray:
        return self.scores


@pytest.mark.parametrize(
    ("got", "apart"), [([[0.0, 4.0]], 0.0), ([[1.0, 4.0]], 0.25), ([[float("nan"), 4.0]], float("inf"))]
)
def test_scores_are_compared_by_their_range(got: list[list[float]], apart: float) -> None:
    assert export_text_steps._apart(Scored([[0.0, 4.0]]), Scored(got), ["a"]) == apart  # type: ignore[arg-type]
