"""Batch sizes as a user writes them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.batches import parse_batches
from deploytk.errors import InputError

sizes = st.integers(1, 4096)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..64", [1, 2, 4, 8, 16, 32, 64]),
        ("1..64:8", [1, 8, 16, 24, 32, 40, 48, 56, 64]),
        ("3..20", [3, 6, 12, 20]),
        ("8..8", [8]),
        ("4,1,2,4", [1, 2, 4]),
        (" 16 ", [16]),
    ],
)
def test_what_is_written_is_what_is_meant(text: str, expected: list[int]) -> None:
    assert parse_batches(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1..", "..4", "1...4", "1..64:0", "0..8", "a", "1,,2", "1.5", "1..8..2"]
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_batches(text)


@pytest.mark.parametrize("text", ["1..65537", "1..999999999999:1", "9999999"])
def test_a_batch_that_would_never_end_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the largest batch size that deploytk tries is 65536"):
        parse_batches(text)


def test_a_range_that_runs_backwards_says_the_right_one() -> None:
    with pytest.raises(InputError, match=r"did you mean 1\.\.64\?"):
        parse_batches("64..1")


@given(low=sizes, span=st.integers(0, 4096))
def test_a_doubling_range_has_both_ends_and_doubles_in_between(low: int, span: int) -> None:
    found = parse_batches(f"{low}..{low + span}")
    assert (found[0], found[-1]) == (low, low + span)
    assert all(after == 2 * before for before, after in pairwise(found[:-1]))
    assert all(after <= 2 * before for before, after in pairwise(found))


@given(low=sizes, span=st.integers(0, 500), step=st.integers(1, 64))
def test_a_stepped_range_has_both_ends_and_every_multiple(low: int, span: int, step: int) -> None:
    found = parse_batches(f"{low}..{low + span}:{step}")
    assert set(found) == {low, low + span} | {n for n in range(low, low + span + 1) if n % step == 0}


@given(st.lists(sizes, min_size=1, max_size=20))
def test_a_list_comes_back_sorted_without_repeats(given_sizes: list[int]) -> None:
    assert parse_batches(",".join(map(str, given_sizes))) == sorted(set(given_sizes))


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_and_never_crashes(text: str) -> None:
    try:
        found = parse_batches(text)
    except InputError:
        return
    assert found == sorted(set(found))
    assert found[0] >= 1
