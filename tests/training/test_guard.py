"""What counts as a sick epoch, and what does not."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploytk.profile_training import Guard
from deploytk.training import guard
from deploytk.training.guard import Facts, Trouble
from deploytk.training.shelf import Entry

POLICY = Guard()


def facts(epoch: int = 1, loss: float = 1.0, fitness: float | None = 0.5, **more: Any) -> Facts:
    return Facts(epoch=epoch, losses={"box_loss": loss}, fitness=fitness, **more)


def curve(*fitness: float, loss: float = 1.0) -> list[Entry]:
    """The entries of these epochs, suspect where the guard says so."""
    entries: list[Entry] = []
    for epoch, value in enumerate(fitness, 1):
        told = facts(epoch, loss, value)
        seen = guard.suspect(told, entries, POLICY)
        entries.append(Entry(epoch=epoch, file=None, fitness=value, losses={"box_loss": loss}, suspect=seen))
    return entries


def trouble(told: Facts, *before: float) -> Trouble | None:
    return guard.judge(told, curve(*before), POLICY)


def test_a_healthy_first_epoch_is_no_trouble() -> None:
    assert trouble(facts()) is None


def test_nan_is_seen_in_losses_buffers_gradients_and_the_metric_from_the_first_epoch_on() -> None:
    for told in (
        facts(loss=math.nan),
        facts(loss=math.inf),
        facts(sick=("bn.running_mean",), tensors=355),
        facts(steps=10, bad_steps=6),
        facts(fitness=math.nan),
    ):
        found = trouble(told)
        assert found is not None and found.kind == "nan", told


def test_a_tensor_is_named_and_counted() -> None:
    found = trouble(facts(sick=("bn.running_mean", "bn.running_var"), tensors=355))
    assert found is not None and "2 of 355 tensors" in found.reason and "bn.running_mean" in found.reason


def test_a_model_of_zeros_is_what_nan_becomes_when_it_is_saved() -> None:
    found = trouble(facts(dead=("conv.weight",), tensors=355))
    assert found is not None and "all zero" in found.reason


def test_a_scaler_may_skip_some_steps() -> None:
    assert trouble(facts(steps=10, bad_steps=5)) is None


def test_seed_002_collapses_in_its_second_bad_epoch() -> None:
    rising = (0.2, 0.4, 0.5, 0.6, 0.65, 0.7, 0.73, 0.75, 0.764)
    assert trouble(facts(10, fitness=0.576), *rising) is None
    assert trouble(facts(11, fitness=0.3), *rising, 0.576) is None
    found = trouble(facts(12, fitness=0.041), *rising, 0.576, 0.3)
    assert found is not None and found.kind == "collapse" and "for 2 epochs" in found.reason


def test_one_bad_epoch_is_chance_and_so_is_anything_before_something_was_learned() -> None:
    assert trouble(facts(4, fitness=0.1), 0.5, 0.6, 0.7) is None
    assert trouble(facts(4, fitness=0.001), 0.02, 0.05, 0.004) is None


def test_a_loss_ten_times_its_median_is_a_collapse() -> None:
    before = curve(0.1, 0.2, 0.3, loss=1.0)
    found = guard.judge(facts(4, loss=10.5, fitness=0.3), before, POLICY)
    assert found is not None and found.kind == "collapse"
    assert guard.judge(facts(4, loss=9.5, fitness=0.3), before, POLICY) is None


def test_a_loss_that_has_converged_may_be_ten_times_its_median() -> None:
    losses = [2.5, 0.4, 0.05, *[0.018] * 7]
    before = [Entry(epoch=i, file=None, fitness=0.9, losses={"box_loss": loss}) for i, loss in enumerate(losses, 1)]
    assert guard.judge(facts(11, loss=0.21, fitness=0.9), before[3:], POLICY) is not None  # without its first loss
    assert guard.judge(facts(11, loss=0.21, fitness=0.9), before, POLICY) is None
    assert guard.judge(facts(11, loss=0.26, fitness=0.9), before, POLICY) is not None


def test_who_ignores_collapse_is_not_told_of_it() -> None:
    policy = Guard(collapse="ignore")
    assert guard.judge(facts(5, loss=99.0, fitness=0.0), curve(0.7, 0.8, 0.8, 0.01), policy) is None


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40), st.floats(-0.05, 0.05))
def test_a_rising_metric_is_never_a_collapse(values: list[float], noise: float) -> None:
    rising = sorted(values)
    last = facts(len(rising), fitness=max(0.0, rising[-1] + noise * rising[-1]))
    assert trouble(last, *rising[:-1]) is None
