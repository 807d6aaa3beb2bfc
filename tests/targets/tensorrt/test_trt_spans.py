"""Which batch sizes an engine takes: every one asked for, each in one profile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.targets.tensorrt.spans import Span, spans


def told(*batches: int, best: int | None = None) -> list[list[int]]:
    return [span.as_list() for span in spans(batches, best)]


def test_batch_one_has_a_profile_of_its_own() -> None:
    assert told(1, 2, 64) == [[1, 1, 1], [2, 8, 64]]
    assert told(1) == [[1, 1, 1]]
    assert told(4, 8) == [[4, 4, 8]]
    assert told(1, 2) == [[1, 1, 1], [2, 2, 2]]


def test_the_shared_profile_is_best_where_it_is_asked_to_be() -> None:
    assert told(1, 64, best=32) == [[1, 1, 1], [2, 32, 64]]
    assert told(1, 64, best=1) == [[1, 1, 1], [2, 8, 64]]
    with pytest.raises(InputError, match=r"cannot be built best for batch 65: its batches are 1 to 64"):
        told(1, 64, best=65)


def test_in_words() -> None:
    assert [str(span) for span in spans([1, 64])] == ["1", "2..64, best at 8"]


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=8), st.none() | st.integers(1, 4096))
def test_every_batch_is_in_exactly_one_profile_and_profiles_are_valid(batches: list[int], best: int | None) -> None:
    if best is not None and not min(batches) <= best <= max(batches):
        best = None
    found = spans(batches, best)
    assert all(1 <= s.least <= s.best <= s.most for s in found)
    for batch in batches:
        assert sum(s.least <= batch <= s.most for s in found) == 1
    assert found[0] == Span(least=1, best=1, most=1) or min(batches) > 1
