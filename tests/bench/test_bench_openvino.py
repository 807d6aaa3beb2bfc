"""benchmark_app and the bare runtimes beside deploytk, on tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_onnx

pytest.importorskip("openvino", reason="OpenVINO is not installed")
import benchmark_app
import overhead

from deploytk.errors import DeploytkError

THEIRS = {
    "NUM_STREAMS": "1",
    "INFERENCE_NUM_THREADS": "2",
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "<Type: 'float32'>",
}
OURS = {"streams": 1, "threads": 2, "hint": "latency", "precision": "float32"}


def test_the_same_options_on_both_sides_are_let_through() -> None:
    benchmark_app.require_same(THEIRS, OURS)


@pytest.mark.parametrize(
    ("ours", "said"), [({"threads": 1}, "INFERENCE_NUM_THREADS"), ({"precision": "bfloat16"}, "precision")]
)
def test_other_options_on_one_side_end_the_comparison(ours: dict[str, object], said: str) -> None:
    with pytest.raises(DeploytkError, match=said):
        benchmark_app.require_same(THEIRS, OURS | ours)


def test_the_row_tells_the_median_of_the_rounds_own_ratios() -> None:
    found = {"benchmark_app": [10.0, 20.0, 10.0], "deploytk": [10.1, 20.2, 12.0], "same clock": [10.0, 20.0, 10.1]}
    row = benchmark_app.row(Path("m.onnx"), found)
    assert row["deploytk / benchmark_app"] == 1.01 and row["95 % interval"] == "too few rounds"
    assert row["OpenVINO's own latency / benchmark_app"] == 1.0


def test_the_overhead_is_the_difference_within_the_repeats() -> None:
    found = {"bare clocked": [5.0, 9.0, 5.0], "clocked": [7.0, 11.0, 7.5], "bare whole": [5.0] * 3, "whole": [9.0] * 3}
    row = overhead.row("onnx", found)
    assert row["extra inside the clock, us"] == 2.0 and row["extra in all, us"] == 4.0


@pytest.mark.e2e
@pytest.mark.parametrize("runtime", list(overhead.BARE))
def test_the_empty_model_runs_bare_and_in_the_loop(runtime: str) -> None:
    found = overhead.compared(runtime, repeats=2, calls=20)
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())


@pytest.mark.e2e
def test_both_tools_measure_the_same_file_with_the_same_options(tmp_path: Path) -> None:
    found = benchmark_app.compared(tiny_onnx.conv(tmp_path / "conv.onnx", size=64), rounds=1, seconds=1, threads=1)
    assert all(len(medians) == 1 and medians[0] > 0 for medians in found.values())


@pytest.mark.e2e
def test_a_model_that_benchmark_app_refuses_ends_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(DeploytkError, match="benchmark_app failed"):
        benchmark_app.theirs(tmp_path / "missing.onnx", "x[1,3,8,8]", seconds=1, threads=1)
