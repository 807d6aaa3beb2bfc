"""Which learning rates a sweep tries, and which one it recommends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.training import sweep_picture
from deploytk.training.sweep import Point, rates, recommended, unsettled


@given(
    first=st.floats(1e-8, 1e-2),
    factor=st.floats(1.5, 1e5),
    points=st.integers(2, 20),
)
def test_the_ends_are_exact_and_the_ratios_equal(first: float, factor: float, points: int) -> None:
    last = first * factor
    found = rates(first, last, points)
    assert (found[0], found[-1], len(found)) == (first, last, points)
    step = factor ** (1 / (points - 1))
    assert all(other / one == pytest.approx(step, rel=2e-3) for one, other in pairwise(found))


def test_the_rates_between_are_ones_to_write_into_a_profile() -> None:
    assert rates(1e-5, 1e-2, 5) == (1e-5, 5.623e-5, 0.0003162, 0.001778, 0.01)


@pytest.mark.parametrize(
    ("first", "last", "points", "said"),
    [
        (1e-2, 1e-5, 5, "from a smaller to a larger"),
        (0.0, 1e-5, 5, "above 0"),
        (1e-5, float("inf"), 5, "from a smaller to a larger"),
        (1e-5, 1e-2, 1, "at least 2"),
        (1e-3, 1.0001e-3, 20, "too many between"),
    ],
)
def test_no_such_range_is_told(first: float, last: float, points: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rates(first, last, points)


def points(*metrics: float | str | None) -> list[Point]:
    """1e-5, 1e-4, ...: a metric each, or how it ended instead."""
    return [
        Point(lr=10.0 ** (i - 5), became=m, reason="why") if m in ("diverged", "failed")  # type: ignore[arg-type]
        else Point(lr=10.0 ** (i - 5), became="trained", metric=m)  # type: ignore[arg-type]
        for i, m in enumerate(metrics)
    ]  # fmt: skip


def test_the_best_within_the_range_is_recommended() -> None:
    found = recommended(points(0.1, 0.3, 0.5, 0.2, 0.1))
    assert (found.word, found.lr, found.best, found.tied) == ("found", 1e-3, 1e-3, ())


def test_of_neighbours_that_tie_the_lowest_is_recommended() -> None:
    found = recommended(points(0.1, 0.49, 0.48, 0.5, 0.2))
    assert (found.word, found.lr, found.best, found.tied) == ("found", 1e-4, 1e-2, (1e-4, 1e-3))
    assert "as good within 10%" in found.reasons[0]


def test_a_tie_beyond_a_worse_point_counts_for_nothing() -> None:
    assert recommended(points(0.1, 0.49, 0.1, 0.5, 0.1)).lr == 1e-2


@pytest.mark.parametrize(
    ("metrics", "option"), [((0.5, 0.3, 0.1), "--from"), ((0.1, 0.3, 0.5), "--to"), ((0.49, 0.5, 0.1), "--from")]
)
def test_the_end_of_the_range_is_told(metrics: tuple[float, ...], option: str) -> None:
    found = recommended(points(*metrics))
    assert found.word == "at_an_end"
    assert found.lr is not None
    assert f"widen the range with {option}" in found.reasons[-1]


def test_a_point_that_diverged_is_rejected_and_bounds_the_range() -> None:
    found = recommended(points(0.1, 0.3, 0.5, "diverged"))
    assert (found.word, found.lr) == ("found", 1e-3)


@pytest.mark.parametrize(
    ("metrics", "word", "said"),
    [
        (("diverged", "diverged"), "all_diverged", "all 2 diverged"),
        (("diverged", "failed"), "failed", "no point was trained to its end: why"),
        ((0.0, 0.0, 0.0), "nothing_learned", "0 at each of 3 learning rates"),
        ((0.0, 0.004, "diverged"), "nothing_learned", "0.0040 at 0.0001"),
        ((None, None), "failed", "no point gave a metric"),
    ],
)
def test_where_nothing_can_be_recommended_it_is_said_why(
    metrics: tuple[float | str | None, ...], word: str, said: str
) -> None:
    found = recommended(points(*metrics))
    assert (found.word, found.lr) == (word, None)
    assert said in found.reasons[0]


@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from(["diverged", "failed"])), min_size=2, max_size=8))
def test_what_is_recommended_was_trained_and_is_no_higher_than_the_best(metrics: list[float | str]) -> None:
    given_points = points(*metrics)
    found = recommended(given_points)
    if found.lr is not None and found.best is not None:
        chosen = next(p for p in given_points if p.lr == found.lr)
        assert chosen.became == "trained"
        assert found.lr <= found.best
        assert (chosen.metric or 0) >= 0.9 * max(m for m in metrics if isinstance(m, float))


def test_a_picture_is_drawn_of_whatever_became_of_them(tmp_path: Path) -> None:
    for number, metrics in enumerate([(0.1, 0.5, "diverged", "failed"), ("diverged", "diverged"), (0.0, 0.0)]):
        told = points(*metrics)
        sweep_picture.draw(tmp_path / f"{number}.png", told, recommended(told), "mAP50_95")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def with_losses(*told: tuple[float, float]) -> str:
    """What is said of points with these metrics and losses."""
    given_points = [
        Point(lr=10.0 ** (i - 5), became="trained", metric=metric, loss=loss) for i, (metric, loss) in enumerate(told)
    ]
    return unsettled(given_points, recommended(given_points))


def test_a_lower_loss_at_another_rate_is_told() -> None:
    assert "lowest at 0.0001 (5.41, 5.6 at 0.001)" in with_losses((0.0, 9.0), (0.016, 5.41), (0.221, 5.6))


def test_a_loss_that_agrees_with_the_metric_or_ties_or_is_missing_is_not_worth_a_word() -> None:
    assert with_losses((0.1, 9.0), (0.3, 4.6), (0.1, 5.4)) == ""
    assert with_losses((0.1, 9.0), (0.29, 4.6), (0.3, 4.7), (0.1, 5.0)) == ""
    assert with_losses((0.0, 9.0), (0.001, 4.6)) == ""
    found = points(0.1, 0.3, 0.1)
    assert unsettled(found, recommended(found)) == ""
