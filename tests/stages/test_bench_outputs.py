"""Answers that are the same for all inputs, or not the same for one."""

from __future__ import annotations

import numpy as np

from deploytk.stages.bench_outputs import FirstAnswers


def kept(*answers: dict[str, np.ndarray]) -> FirstAnswers:
    first = FirstAnswers()
    for number, answer in enumerate(answers):
        first.keep(number, answer)
    return first


def test_the_same_output_for_different_inputs_is_wrong_even_where_it_is_not_uniform() -> None:
    assert "does not depend on its input" in kept({"y": np.arange(4.0)}, {"y": np.arange(4.0)}).same_for_all()


def test_one_output_that_differs_is_enough() -> None:
    same = np.zeros(3)
    assert kept({"a": same, "b": np.ones(1)}, {"a": same, "b": np.zeros(1)}).same_for_all() == ""
    assert kept({"a": same}).same_for_all() == ""


def test_an_answer_that_has_become_another_is_named() -> None:
    first = kept({"y": np.arange(4.0)})
    assert first.differs(0, {"y": np.arange(4.0) * 1.001}) == ""
    assert first.differs(0, {"y": np.arange(4.0) * 1.1}) == (
        "Output y is not what it was the first time for the same input."
    )
    assert first.differs(0, {"y": np.arange(5.0)})
    assert first.differs(0, {"y": np.array([0.0, 1.0, 2.0, np.nan])})


def test_quantized_answers_may_be_one_step_apart() -> None:
    first = kept({"y": np.array([1, 2], np.int8)})
    assert first.differs(0, {"y": np.array([1, 3], np.int8)}) == ""
    assert first.differs(0, {"y": np.array([1, 4], np.int8)})


def test_little_is_kept_of_a_large_answer() -> None:
    large = np.random.default_rng(0).random((64, 84, 2100), dtype=np.float32)
    first = kept({"y": large})
    assert first._first[0]["y"].nbytes < 20_000
    assert first.differs(0, {"y": large + 1})
    assert first.differs(7, {"y": large}) == ""
