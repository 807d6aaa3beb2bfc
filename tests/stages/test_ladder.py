"""The INT8 ladder: what is tried, in which order, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from deploytk.stages.ladder import Attempt, Ladder, Outcome, Rung, climb, ranked, taken

LAYERS = tuple(f"/model.{i}/conv" for i in range(20))
CORRECTIONS = ("percentile", "smooth_quant", "fast_bias")


def ladder(**changes: Any) -> Ladder:
    return Ladder(**{"sensitive": lambda: LAYERS, "corrections": CORRECTIONS, "accuracy_control": True, **changes})


def ends(outcomes: dict[str, tuple[Outcome, float | None]]) -> Callable[[Rung], Attempt]:
    """An attempt that ends as told for its rung, and has lost 5 points otherwise."""

    def attempt(rung: Rung) -> Attempt:
        outcome, drop = outcomes.get(rung.name, ("dropped", 0.05))
        return Attempt(rung=rung, outcome=outcome, reason="", drop=drop)

    return attempt


def names(attempts: Sequence[Attempt]) -> list[str]:
    return [a.rung.name for a in attempts]


def test_full_int8_that_is_good_enough_ends_it_and_no_sensitivity_is_measured() -> None:
    def never() -> list[str]:
        raise AssertionError("sensitivities cost time and were not needed")

    attempts = climb(ladder(sensitive=never), ends({"full": ("met", 0.001)}))
    assert names(attempts) == ["full"]
    assert taken(attempts) is attempts[0]


def test_where_nothing_is_good_enough_every_rung_is_tried_in_order_and_none_is_taken() -> None:
    attempts = climb(ladder(), ends({}))
    floats = ["float-1", "float-3", "float-8", "float-16"]
    assert names(attempts) == ["full", *floats, *CORRECTIONS, "control"]
    assert taken(attempts) is None
    assert attempts[-1].rung.way == "accuracy_control"


def test_the_layers_kept_in_float_are_the_most_sensitive_ones() -> None:
    attempts = climb(ladder(), ends({"float-3": ("met", 0.0)}))
    assert attempts[-1].rung.recipe.float_nodes == LAYERS[:3]
    assert attempts[-1].rung.what == "INT8, 3 layers in float"


def test_a_model_of_few_layers_never_has_all_of_them_in_float() -> None:
    attempts = climb(ladder(sensitive=lambda: LAYERS[:3]), ends({}))
    assert names(attempts) == ["full", "float-1", *CORRECTIONS, "control"]


def test_corrections_build_on_the_attempt_that_lost_least() -> None:
    attempts = climb(ladder(), ends({"float-3": ("dropped", 0.011), "smooth_quant": ("met", 0.001)}))
    recipe = attempts[-1].rung.recipe
    assert (recipe.correction, recipe.float_nodes) == ("smooth_quant", LAYERS[:3])
    assert attempts[-1].rung.what == "smooth quant, 3 layers in float"


def test_one_correction_does_not_build_on_another() -> None:
    attempts = climb(ladder(), ends({"percentile": ("dropped", 0.011), "smooth_quant": ("met", 0.001)}))
    assert attempts[-1].rung.recipe.correction == "smooth_quant"
    assert attempts[-1].rung.recipe.float_nodes == ()


def test_full_int8_that_is_slower_than_float_ends_it_for_more_in_float_is_no_faster() -> None:
    attempts = climb(ladder(), ends({"full": ("slower", 0.0)}))
    assert names(attempts) == ["full"]
    assert taken(attempts) is None


def test_many_layers_in_float_that_are_slower_leave_the_corrections_of_fewer_to_try() -> None:
    told: dict[str, tuple[Outcome, float | None]] = {"float-3": ("dropped", 0.02), "float-8": ("slower", 0.0)}
    attempts = climb(ladder(), ends({**told, "fast_bias": ("met", 0.005)}))
    assert names(attempts) == ["full", "float-1", "float-3", "float-8", *CORRECTIONS]
    assert attempts[-1].rung.recipe.float_nodes == LAYERS[:3]


def test_training_with_the_rounding_comes_last_and_is_quantized_as_the_best_attempt_was() -> None:
    told: dict[str, tuple[Outcome, float | None]] = {"float-3": ("dropped", 0.011), "fast_bias": ("dropped", 0.01)}
    last = climb(ladder(training_epochs=3), ends(told))[-1].rung
    assert (last.name, last.way) == ("qat", "qat")
    assert last.what == "3 epochs of quantization-aware training, fast bias, 3 layers in float"
    assert (last.recipe.float_nodes, last.recipe.correction) == (LAYERS[:3], "fast_bias")


def test_nothing_is_trained_for_a_model_that_is_slower_than_float() -> None:
    attempts = climb(ladder(training_epochs=3), ends({"full": ("slower", 0.05)}))
    assert "qat" not in names(attempts)


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_an_attempt_that_gave_no_model_is_one_of_the_attempts(outcome: Outcome) -> None:
    attempts = climb(ladder(), ends({"full": (outcome, None), "float-1": ("met", 0.0)}))
    assert [a.outcome for a in attempts] == [outcome, "met"]


def test_a_target_that_can_only_clip_ranges_has_two_rungs() -> None:
    attempts = climb(Ladder(corrections=("percentile",)), ends({}))
    assert names(attempts) == ["full", "percentile"]


def test_among_layers_that_lose_alike_the_detect_head_goes_first() -> None:
    told = [
        {"node": "/model.0/conv", "op": "Conv", "sqnr_db": 20.4},
        {"node": "/model.22/cv3/conv", "op": "Conv", "sqnr_db": 20.9},
        {"node": "/model.22/dfl/conv", "op": "Conv", "sqnr_db": 31.0},
        {"node": "/model.5/conv", "op": "Conv", "sqnr_db": 3.0},
    ]
    ordered = ["/model.5/conv", "/model.22/cv3/conv", "/model.0/conv", "/model.22/dfl/conv"]
    assert ranked(told, "/model.22/") == ordered
