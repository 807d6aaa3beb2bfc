"""The measuring loop. No test here depends on how fast the machine is."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk import timing


class Recorder:
    """A model that remembers whose turn it was and whether garbage was being collected meanwhile."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.collecting: list[bool] = []

    def __call__(self, turn: int) -> dict[str, np.ndarray]:
        self.turns.append(turn)
        self.collecting.append(gc.isenabled())
        return {"y": np.full((1, 2), turn, np.float32)}


def test_a_block_goes_on_from_where_the_last_one_ended() -> None:
    model = Recorder()
    lead, samples = timing.sample(model, start=2, calls=4)
    assert lead == []
    assert model.turns == [2, 3, 4, 5]
    assert len(samples) == 4
    assert all(s > 0 for s in samples)


def test_the_lead_in_is_apart_and_as_long_as_said_whatever_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([9.0, 900.0, 3.0, 4.0])
    monkeypatch.setattr(timing, "_timed", lambda *_: next(took))
    after: list[int] = []
    assert timing.sample(Recorder(), start=0, calls=2, lead=2, after=lambda: after.append(1)) == (
        [9.0, 900.0],
        [3.0, 4.0],
    )
    assert after == [1, 1]


def test_garbage_is_not_collected_inside_the_clock_and_is_again_after_it() -> None:
    model = Recorder()
    timing.sample(model, start=0, calls=3)
    assert model.collecting == [False] * 3
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), timing.no_garbage_collection():
        raise RuntimeError
    assert gc.isenabled()


def test_warm_up_ends_at_its_most_calls_when_it_never_gets_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "is_steady", lambda _samples: False)
    assert len(timing.warm_up(Recorder(), most_calls=17, limit_s=1e9)) == 17


def test_warm_up_of_a_slow_model_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_timed", lambda *_: 6_000.0)
    assert len(timing.warm_up(Recorder(), limit_s=10)) == 2


@pytest.mark.parametrize(
    ("samples", "steady"),
    [
        ([5.0] * 10, True),
        ([5.0] * 9, False),
        ([9.0] * 5 + [5.0] * 5, False),
        ([9.0] * 20 + [5.0] * 9, False),
        ([9.0] * 20 + [5.0] * 10, True),
        ([30.0, 12.0, 9.0, 7.0, *[5.0, 5.1, 4.9, 5.0, 5.2] * 2], True),
        ([9.0] * 12 + [7.0] * 12 + [5.0] * 4, False),
        ([5.0] * 5 + [5.2] * 5, True),
    ],
)
def test_steady_is_ten_calls_after_the_last_change(samples: list[float], steady: bool) -> None:
    assert timing.is_steady(samples) is steady


def test_slow_calls_are_steady_after_half_a_second_of_them() -> None:
    assert timing.is_steady([120.0] * 5)
    assert not timing.is_steady([120.0] * 4)
    assert timing.is_steady([900.0] * 4)
    assert not timing.is_steady([900.0] * 3)


def test_a_change_is_found_where_it_is() -> None:
    assert timing.steady_from([9.0] * 20 + [5.0] * 10) == 20
    assert timing.steady_from([20.0] * 8 + [9.0] * 20 + [5.0] * 15) == 28


def test_noise_alone_seldom_looks_like_a_change() -> None:
    rng = np.random.default_rng(3)
    series = [np.exp(0.1 * rng.standard_normal(30)).tolist() for _ in range(400)]
    assert sum(timing.steady_from(s) > 0 for s in series) < 0.12 * len(series)


def test_outputs_of_the_right_shape_and_finite_are_right() -> None:
    assert timing.wrong_outputs({"y": np.ones((4, 2), np.float32), "z": np.ones((4,), np.int8)}, 4) == ""


def test_nan_in_an_output_is_named_with_the_output() -> None:
    values = np.ones((2, 3), np.float32)
    values[1, 2] = np.nan
    assert timing.wrong_outputs({"boxes": values}, 2) == "Output boxes holds NaN or infinity (1 of 6 values)."


@pytest.mark.parametrize("shape", [(), (1, 8), (8,)])
def test_an_output_that_does_not_begin_with_the_batch_is_wrong(shape: tuple[int, ...]) -> None:
    assert "does not begin with the batch size 4" in timing.wrong_outputs({"y": np.zeros(shape)}, 4)


def test_a_model_without_output_is_wrong() -> None:
    assert timing.wrong_outputs({}, 1) == "The model has no output."


@given(st.integers(0, 20), st.integers(1, 20))
def test_a_block_has_as_many_samples_as_calls(start: int, calls: int) -> None:
    model, after = Recorder(), []
    _, samples = timing.sample(model, start=start, calls=calls, after=lambda: after.append(len(model.turns)))
    assert len(samples) == calls
    assert model.turns == list(range(start, start + calls))
    assert after == list(range(1, calls + 1))
