"""The words for a precision."""

from __future__ import annotations

import pytest

from deploytk.runtimes import precision


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        ({"float32": 3}, "float32"),
        ({"float32": 3, "int8": 0}, "float32"),
        ({"float32": 3, "int8": 62}, "int8 (62 of 65 weighted operators), float32 (3)"),
        ({"strange": 1, "bfloat16": 1}, "bfloat16 (1 of 2 weighted operators), strange (1)"),
        ({}, "unknown"),
    ],
)
def test_the_most_reduced_precision_comes_first(operators: dict[str, int], said: str) -> None:
    assert precision.told(operators) == said
