"""Which images are chosen: every class, the rarest first, and the whole range of brightness."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from deploytk.data import choice


def test_the_rarest_class_comes_first_and_one_image_may_cover_several() -> None:
    labels = [{0}, {0}, {0, 1}, {0}, {2, 1}, {0}]
    assert choice.covering(labels, range(6)) == [4, 0]  # class 2 is the rarest, its image has class 1 too
    assert choice.covering([set(), set()], range(2)) == []


def test_the_darkest_and_the_brightest_part_are_among_the_chosen() -> None:
    brightness = [float(n) for n in range(100)]
    chosen = choice.spread(brightness, [50], 10, list(range(100)))
    assert len(set(chosen)) == 10 and chosen[0] == 50
    assert sorted(n // 10 for n in chosen) == list(range(10))  # one of each tenth


def test_a_beginning_of_the_chosen_is_spread_too() -> None:
    order = list(range(400))
    random.Random(1).shuffle(order)
    chosen = choice.spread([float(n) for n in range(400)], [], 100, order)
    assert min(chosen[:20]) < 80 and max(chosen[:20]) > 320


@given(st.lists(st.floats(0, 255), min_size=1, max_size=60), st.data())
def test_as_many_as_asked_are_chosen_each_once_and_those_of_the_classes_first(
    brightness: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(brightness)))
    order = data.draw(st.permutations(range(len(brightness))))
    first = data.draw(st.lists(st.sampled_from(order), unique=True))
    chosen = choice.spread(brightness, first, count, order)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen[: len(first)] == first[:count]
