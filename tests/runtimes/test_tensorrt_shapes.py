"""Which optimization profile a batch size runs in."""

from __future__ import annotations

import pytest

from deploytk.runtimes.tensorrt_shapes import Range, nearest

ONE, MANY = Range(least=1, best=1, most=1), Range(least=2, best=8, most=64)
WIDE = Range(least=1, best=16, most=64)


@pytest.mark.parametrize(("batch", "profile"), [(1, 0), (2, 1), (8, 1), (64, 1), (65, None)])
def test_batch_1_has_a_profile_of_its_own(batch: int, profile: int | None) -> None:
    assert nearest([ONE, MANY], batch) == profile


@pytest.mark.parametrize(("batch", "profile"), [(1, 1), (3, 2), (8, 2), (11, 2), (12, 0), (64, 0)])
def test_of_several_that_take_it_the_one_tuned_nearest_by_ratio_is_taken(batch: int, profile: int) -> None:
    assert nearest([WIDE, ONE, MANY], batch) == profile


def test_of_two_tuned_alike_the_narrower_is_taken() -> None:
    assert nearest([Range(least=1, best=8, most=64), Range(least=8, best=8, most=8)], 8) == 1
