"""The choice: the fastest that is surely within the budget, never slower than the default, and a plain sentence why."""

from __future__ import annotations

from typing import Any

from optimize_fakes import KNOWN, FakeShop, wanted
from test_optimize_search import FAST, SMALL

from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_OVER_BUDGET, EXIT_PASS
from deploytk.stages.optimize import seen, wanted_of
from deploytk.stages.optimize_candidates import Wanted
from deploytk.stages.optimize_choice import Choice, choose
from deploytk.stages.optimize_search import Search


def chosen(shop: FakeShop, asked: Wanted | None = None, smaller: Any = None) -> Choice:
    asked = asked or wanted()
    return choose(Search(asked, KNOWN, shop, lambda: shop.spent_s).run(), asked, smaller or {})


def name_of(choice: Choice) -> str:
    return choice.chosen.variant.name if choice.chosen else ""


def test_the_fastest_within_the_budget_is_chosen_and_the_sentence_says_why() -> None:
    choice = chosen(FakeShop(ms=FAST, metric={"openvino int8 320 px": 0.796}))
    assert name_of(choice) == "openvino int8 320 px"
    assert choice.verdict.exit_code == EXIT_PASS
    assert choice.verdict.reasons[0] == (
        "Chosen: openvino int8 320 px, 2 threads: p95 8.91 ms of 50 ms, mAP50 0.796 (0.4 points lost, 1 allowed); "
        "0.40 times as long as the plain default (0.40 to 0.41)."
    )
    assert choice.verdict.reasons[1].startswith("Next: onnx int8 320 px with 14 ms per item")


def test_the_default_is_kept_where_nothing_is_faster_beyond_noise() -> None:
    slow = {name: 20.1 if "fp32 320" in name and "onnx" in name else 23.0 for name in FAST}
    choice = chosen(FakeShop(ms=slow))
    assert name_of(choice) == "onnx fp32 320 px"
    assert "It is the plain default, and nothing that may be taken is faster" in choice.verdict.reasons[0]


def test_of_those_that_are_as_fast_the_most_accurate_is_taken() -> None:
    ms = FAST | {"onnx int8 320 px": 8.2}
    choice = chosen(FakeShop(ms=ms, metric={"openvino int8 320 px": 0.792, "onnx int8 320 px": 0.799}))
    assert name_of(choice) == "onnx int8 320 px"
    row = next(c for c in choice.candidates if c.variant.name == "openvino int8 320 px")
    assert (row.status, row.why) == ("slower", "as fast as the chosen one within noise, and no more accurate")


def test_nothing_within_the_budget_is_exit_3_with_the_nearest_and_what_would_do() -> None:
    ms = {name: 8 * value for name, value in (FAST | SMALL).items()}
    shop = FakeShop(ms=ms, size_metric={256: 0.75})
    choice = chosen(shop, wanted(sizes=[320, 256], targets=["openvino"]), {192: 40.0})
    told = " ".join(choice.verdict.reasons)
    assert (choice.chosen, choice.verdict.exit_code) == (None, EXIT_OVER_BUDGET)
    assert "Nothing meets 50 ms with at most 1 points lost. Nearest: openvino int8 320 px" in told
    assert "at 192 px the fastest float model took 40 ms in a look" in told
    assert "--targets npu" in told
    assert "A smaller model would have to take less than 0.70 of the time" in told


def test_one_that_is_fast_enough_and_lost_too_much_is_named_in_a_failure() -> None:
    ms = dict.fromkeys(FAST, 60.0)
    choice = chosen(FakeShop(ms=ms, missed={"openvino int8 320 px": 0.7}))
    assert "openvino int8 320 px would meet it (8 ms): the best of 9 INT8 attempts" in " ".join(choice.verdict.reasons)


def test_one_on_the_budget_is_taken_where_no_other_is_within_it_and_that_is_inconclusive() -> None:
    ms = dict.fromkeys(FAST, 60.0) | {"openvino int8 320 px": 46.0}
    choice = chosen(FakeShop(ms=ms, undecided=frozenset({"openvino int8 320 px"})))
    assert name_of(choice) == "openvino int8 320 px"
    assert choice.verdict.exit_code == EXIT_INCONCLUSIVE
    assert choice.verdict.reasons[1] == "p95 is 45.5 ms."


def test_an_estimate_is_told_beside_the_measured_ones_and_never_chosen_over_them() -> None:
    choice = chosen(FakeShop(ms=FAST | {"npu int8 320 px": 1.0}), wanted(targets=["onnx", "npu"]))
    assert name_of(choice) == "onnx int8 320 px"
    assert "Not ranked, an estimate: npu int8 320 px: Vela estimates 1 ms." in choice.verdict.reasons


def test_who_asks_for_the_npu_alone_gets_it_with_its_estimate() -> None:
    choice = chosen(FakeShop(ms=FAST | {"npu int8 320 px": 1.0}), wanted(targets=["npu"]))
    assert name_of(choice) == "npu int8 320 px"
    assert "the compiler estimates 1 of 50 ms" in choice.verdict.reasons[0]
    assert next(c for c in choice.candidates if c.variant.target == "onnx").status != "chosen"


def test_what_was_not_tried_stands_in_the_reasons() -> None:
    choice = chosen(FakeShop(ms=FAST, step_s=20.0), wanted(time_limit_s=120.0))
    assert any(r.startswith("Not tried, the time was over: ") for r in choice.verdict.reasons)


def test_a_model_that_finds_nothing_cannot_show_a_loss() -> None:
    choice = seen(chosen(FakeShop(ms=FAST)), 0.004, wanted())
    assert choice.verdict.exit_code == EXIT_INCONCLUSIVE
    assert "so a loss of 0.010 cannot be seen" in choice.verdict.reasons[0]


def test_every_finalist_ends_with_a_status_that_says_why() -> None:
    choice = chosen(FakeShop(ms=FAST))
    assert all(c.status != "open" for c in choice.candidates)
    assert all(c.why for c in choice.candidates if c.status != "chosen")


def test_an_unknown_target_and_an_odd_size_are_said_with_what_was_meant() -> None:
    import pytest

    from deploytk.budget import Budget
    from deploytk.errors import InputError
    from deploytk.profile import Profile
    from deploytk.stages.optimize import Ask

    profile = Profile.model_validate({"name": "pills"})
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        wanted_of(Ask(budget=Budget(), targets=["onxx"]), profile)
    with pytest.raises(InputError, match="--imgsz 300: not a multiple of 32; did you mean 288"):
        wanted_of(Ask(budget=Budget(), sizes=[300]), profile)
