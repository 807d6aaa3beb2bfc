"""The search: cheap things first, the dear ones only for what can still win, and the time limit is kept."""

from __future__ import annotations

import pytest
from optimize_fakes import KNOWN, FakeShop, wanted

from deploytk.budget import Budget
from deploytk.errors import MissingDependency, ParityFailed
from deploytk.stages.optimize_candidates import Candidate, Wanted
from deploytk.stages.optimize_search import Search

FAST = {"onnx fp32 320 px": 20.0, "onnx int8 320 px": 14.0, "openvino fp32 320 px": 18.0, "openvino int8 320 px": 9.0}
SMALL = {"onnx fp32 256 px": 13.0, "onnx int8 256 px": 9.0, "openvino fp32 256 px": 12.0, "openvino int8 256 px": 6.0}


def searched(shop: FakeShop, asked: Wanted | None = None) -> dict[str, Candidate]:
    found = Search(asked or wanted(), KNOWN, shop, lambda: shop.spent_s).run()
    return {c.key: c for c in found}


def test_the_default_is_always_a_candidate_and_stands_first() -> None:
    found = searched(FakeShop(ms=FAST), wanted(targets=["openvino"], precisions=["int8"]))
    assert list(found)[:2] == ["onnx fp32 320 px", "openvino int8 320 px"]


def test_looks_come_first_then_float_models_then_int8_and_the_final_round_last() -> None:
    shop = FakeShop(ms=FAST)
    searched(shop)
    made = [step.removeprefix("make ") for step in shop.done if step.startswith("make")]
    assert shop.done[:3] == ["trained 320", "look onnx 320", "look openvino 320"]
    assert made == ["onnx fp32 320 px", "openvino fp32 320 px", "openvino int8 320 px", "onnx int8 320 px"]
    assert shop.done[-1].startswith("final onnx fp32 320 px, openvino int8 320 px, 2 threads")


def test_what_looks_over_twice_the_budget_is_never_made() -> None:
    shop = FakeShop(ms=FAST | {"onnx fp32 320 px": 130.0, "openvino fp32 320 px": 90.0})
    found = searched(shop)
    assert found["onnx int8 320 px"].status == "too slow"
    assert "130 ms, over twice the 50 ms" in found["onnx int8 320 px"].why
    assert "make onnx int8 320 px" not in shop.done
    assert "make openvino int8 320 px" in shop.done


def test_where_all_look_too_slow_the_fastest_looking_one_is_pursued() -> None:
    shop = FakeShop(ms=FAST | {"onnx fp32 320 px": 130.0, "openvino fp32 320 px": 120.0})
    found = searched(shop)
    assert found["openvino int8 320 px"].status == "open"
    assert found["onnx int8 320 px"].status == "too slow"


def test_a_look_on_a_busy_machine_pushes_nothing_out() -> None:
    found = searched(FakeShop(ms=FAST | {"onnx fp32 320 px": 130.0, "openvino fp32 320 px": 90.0}, busy=True))
    assert {c.status for c in found.values()} == {"open"}


def test_an_image_size_that_loses_too_much_by_itself_costs_no_quantization() -> None:
    shop = FakeShop(ms=FAST | SMALL, size_metric={256: 0.77})
    found = searched(shop, wanted(sizes=[320, 256]))
    assert found["openvino int8 256 px"].status == "lost accuracy"
    assert found["openvino int8 256 px"].why == "at 256 px the trained model itself loses 3.0 points"
    assert not [step for step in shop.done if step.startswith("make") and "256" in step]


def test_what_a_smaller_image_lost_is_taken_from_what_int8_may_lose() -> None:
    shop = FakeShop(ms=FAST | SMALL, size_metric={256: 0.794})
    searched(shop, wanted(sizes=[320, 256]))
    assert shop.allowed["openvino int8 256 px"] == pytest.approx(0.004)
    assert shop.allowed["openvino int8 320 px"] == pytest.approx(0.01)


def test_int8_that_the_ladder_gave_up_keeps_its_numbers_and_is_out() -> None:
    found = searched(FakeShop(ms=FAST, missed={"openvino int8 320 px": 0.7}))
    out = found["openvino int8 320 px"]
    assert (out.status, out.metric, out.why) == ("lost accuracy", 0.7, "the best of 9 INT8 attempts lost too much")
    assert out.drop == pytest.approx(0.1)


def test_int8_that_kept_its_accuracy_and_was_no_faster_is_refused_with_the_reason() -> None:
    found = searched(FakeShop(ms=FAST, missed={"onnx int8 320 px": 0.8}))
    assert found["onnx int8 320 px"].status == "refused"


def test_a_library_that_is_not_there_is_one_candidates_result_and_the_search_goes_on() -> None:
    gone = MissingDependency("openvino is not installed. Install it with: pip install 'deploytk[openvino]'")
    found = searched(FakeShop(ms=FAST, error={"openvino fp32 320 px": gone}))
    assert found["openvino fp32 320 px"].status == "refused"
    assert "pip install" in found["openvino fp32 320 px"].why
    assert found["openvino int8 320 px"].status == "open"


def test_without_the_default_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(ParityFailed):
        searched(FakeShop(ms=FAST, error={"onnx fp32 320 px": ParityFailed("boxes differ")}))


def test_what_there_was_no_time_for_is_listed_and_the_final_round_still_comes() -> None:
    shop = FakeShop(ms=FAST, step_s=20.0)
    found = searched(shop, wanted(time_limit_s=120.0))
    late = [key for key, c in found.items() if c.status == "not tried"]
    assert late == ["onnx int8 320 px", "openvino int8 320 px"]
    assert all(found[key].why == "the time was over" for key in late)
    assert shop.done[-1].startswith("final onnx fp32 320 px")


def test_the_default_is_made_however_long_it_takes_and_the_others_in_the_time_that_is_left() -> None:
    shop = FakeShop(ms=FAST, step_s=1.0)
    searched(shop, wanted(time_limit_s=120.0))
    assert shop.limit_s["onnx fp32 320 px"] is None
    assert 0 < (shop.limit_s["onnx int8 320 px"] or 0.0) < 90.0


def test_an_npu_is_estimated_and_stays_out_of_the_final_round() -> None:
    shop = FakeShop(ms=FAST | {"npu int8 320 px": 4.0})
    found = searched(shop, wanted(targets=["onnx", "npu"]))
    assert found["npu int8 320 px"].status == "estimated"
    assert found["npu int8 320 px"].why == "Vela estimates 4 ms."
    assert "npu" not in shop.done[-1]


def test_a_setting_is_kept_where_it_is_faster_beyond_a_blink() -> None:
    found = searched(FakeShop(ms=FAST))
    assert found["openvino int8 320 px"].setting.threads == 2
    assert found["onnx int8 320 px"].setting.threads is None


def test_a_number_of_threads_holds_for_all_of_them() -> None:
    found = searched(FakeShop(ms=FAST), wanted(threads=1))
    assert {c.setting.threads for c in found.values()} >= {1}
    assert found["onnx fp32 320 px"].name == "onnx fp32 320 px, 1 thread"


def test_batches_are_candidates_of_one_model() -> None:
    shop = FakeShop(ms=FAST)
    found = searched(shop, wanted(batches=[1, 4]))
    assert found["openvino int8 320 px, batch 4"].look_ms == 72.0
    assert shop.done.count("make openvino int8 320 px") == 1


def test_end_to_end_the_normalisation_is_tried_inside_the_graph_too_but_not_in_an_npus() -> None:
    asked = wanted(budget=Budget(latency_ms=50.0, boundary="end_to_end"), targets=["openvino", "npu"])
    names = [v.name for v in asked.variants(KNOWN)]
    assert "openvino int8 320 px, normalised inside" in names and "onnx fp32 320 px, normalised inside" not in names
    assert not any(name.startswith("npu") and "inside" in name for name in names)
    assert not any("inside" in v.name for v in wanted().variants(KNOWN))
