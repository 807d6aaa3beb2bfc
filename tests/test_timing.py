"""The measuring loop. No test here depends on how fast the machine is."""

from __future__ import annotations

import gc
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk import timing

Feed = Mapping[str, np.ndarray]
FEEDS = [{"x": np.full((1, 2), i, np.float32)} for i in range(3)]


class Recorder:
    """A model that remembers what it was fed and whether garbage was being collected meanwhile."""

    def __init__(self) -> None:
        self.fed: list[int] = []
        self.collecting: list[bool] = []

    def __call__(self, feed: Feed) -> Feed:
        self.fed.append(int(feed["x"][0, 0]))
        self.collecting.append(gc.isenabled())
        return {"y": feed["x"]}


def test_a_block_rotates_the_inputs_from_where_the_last_one_ended() -> None:
    model = Recorder()
    lead, samples, outputs = timing.sample(model, FEEDS, start=2, calls=4)
    assert lead == []
    assert model.fed == [2, 0, 1, 2]
    assert len(samples) == 4
    assert all(s > 0 for s in samples)
    assert outputs["y"][0, 0] == 2


def test_the_lead_in_is_apart_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_timed", lambda *_: (2.0, {}))
    lead, samples, _ = timing.sample(Recorder(), FEEDS, start=0, calls=4, lead_ms=5.0)
    assert (lead, samples) == ([2.0] * 3, [2.0] * 4)
    lead, _, _ = timing.sample(Recorder(), FEEDS, start=0, calls=4, lead_ms=1e9)
    assert len(lead) == 50


def test_garbage_is_not_collected_inside_the_clock_and_is_again_after_it() -> None:
    model = Recorder()
    timing.sample(model, FEEDS, start=0, calls=3)
    assert model.collecting == [False] * 3
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), timing.no_garbage_collection():
        raise RuntimeError
    assert gc.isenabled()


def test_warm_up_ends_at_its_most_calls_when_it_never_gets_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "is_steady", lambda _samples: False)
    assert len(timing.warm_up(Recorder(), FEEDS, most_calls=17, limit_s=1e9)) == 17


def test_warm_up_of_a_slow_model_ends_after_one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_timed", lambda *_: (60_000.0, {}))
    assert len(timing.warm_up(Recorder(), FEEDS, limit_s=10)) == 5


@pytest.mark.parametrize(
    ("samples", "steady"),
    [
        ([5.0] * 10, True),
        ([5.0] * 9, False),
        ([9.0] * 5 + [5.0] * 5, False),
        ([9.0] * 20 + [5.0] * 5, False),
        ([9.0] * 20 + [5.0] * 10, True),
        ([5.0] * 5 + [5.2] * 5, True),
    ],
)
def test_steady_is_two_windows_in_a_row_alike(samples: list[float], steady: bool) -> None:
    assert timing.is_steady(samples) is steady


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


def test_the_same_output_for_different_inputs_is_wrong_even_where_it_is_not_uniform() -> None:
    outputs = [{"y": np.arange(4.0)}, {"y": np.arange(4.0)}]
    assert "does not depend on its input" in timing.same_for_all(outputs)


def test_one_output_that_differs_is_enough() -> None:
    same = np.zeros(3)
    assert timing.same_for_all([{"a": same, "b": np.ones(1)}, {"a": same, "b": np.zeros(1)}]) == ""
    assert timing.same_for_all([{"a": same}]) == ""


@given(st.integers(0, 20), st.integers(1, 20), st.integers(1, 3))
def test_a_block_has_as_many_samples_as_calls(start: int, calls: int, feeds: int) -> None:
    model = Recorder()
    _, samples, _ = timing.sample(model, FEEDS[:feeds], start=start, calls=calls)
    assert len(samples) == calls == len(model.fed)
    assert model.fed == [(start + i) % feeds for i in range(calls)]
