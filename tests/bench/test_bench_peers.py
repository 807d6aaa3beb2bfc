"""The comparisons with the peers: what their rows say, and that each runs on a tiny model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import ours
import regression
import search

from deploytk.errors import DeploytkError

NAIVE = {"seconds": 100.0, "calls": 330, "p95_ms": {1: 10.0, 2: 30.0, 4: 70.0}}


def found(**verdicts: Any) -> dict[str, Any]:
    told = {int(name[1:]): verdict for name, verdict in verdicts.items()}
    return {"seconds": 15.0, "calls": 90, "verdicts": told, "p95_ms": {1: 10.0, 2: 30.0, 4: 70.0}}


def test_a_search_that_finds_the_same_batches_says_so_and_at_what_cost() -> None:
    row = search.row(50.0, NAIVE, found(b1="pass", b2="pass", b3="pass", b4="fail"))
    assert row["naive set"] == row["deploytk set"] == [1, 2]
    assert row["same set"] == "yes" and row["also tried"] == [3] and row["cost ratio"] == 0.15


def test_a_batch_on_the_budget_in_either_sweep_is_named_and_left_out_of_the_comparison() -> None:
    ours = found(b1="pass", b2="inconclusive", b4="fail")
    ours["p95_ms"][2] = 46.0
    row = search.row(50.0, NAIVE, ours)
    assert (row["same set"], row["on the budget"], row["undecided"]) == ("yes", [2], [2])
    assert search.row(75.0, NAIVE, found(b1="pass", b2="pass", b4="fail"))["on the budget"] == [4]


def test_a_search_that_leaves_a_batch_undecided_does_not_find_the_same_set() -> None:
    row = search.row(50.0, NAIVE, found(b1="pass", b2="inconclusive", b4="fail"))
    assert row["same set"] == "no" and row["undecided"] == [2]


def test_the_models_of_the_regression_differ_by_the_planted_work_alone(tmp_path: Path) -> None:
    import onnx

    a, b = (regression.convolutions(tmp_path / f"{n}.onnx", n, 8) for n in (20, 22))
    counts = [sum(node.op_type == "Conv" for node in onnx.load(path).graph.node) for path in (a, b)]
    assert counts == [20, 22]
    answers = [session(path).run(None, {"x0": np.ones((2, 32, 8, 8), np.float32)})[0] for path in (a, b)]
    assert all(answer.shape == (2, 32, 8, 8) and 1e-3 < answer.std() < 1e3 for answer in answers)


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_tries_are_counted_by_what_report_diff_said() -> None:
    tries = [
        {"planted, the two runs alone": said, "medians_ms": {"A": 10.0, "B": b}}
        for said, b in (("slower", 11.0), ("slower", 11.2), ("undecided", 10.4))
    ]
    row = regression.row("planted", regression.ALONE, "B", tries)
    assert (row["slower"], row["undecided"], row["nothing slower"]) == (2, 1, 0)
    assert row["ratio of the medians"] == "1.100 (1.040 to 1.120)"


@pytest.mark.e2e
def test_a_model_that_cannot_be_measured_ends_the_experiment(tmp_path: Path) -> None:
    given = argparse.Namespace(threads=1, budget=1000.0, seconds=10.0, samples=0)
    with pytest.raises(DeploytkError, match="bad_output"):
        regression.benched(tiny_onnx.nan(tmp_path / "nan.onnx"), tmp_path / "run", given)


@pytest.mark.e2e
def test_a_try_benches_three_times_and_asks_report_diff_about_both_pairs(tmp_path: Path) -> None:
    given = argparse.Namespace(threads=1, budget=1000.0, seconds=10.0, samples=0, convolutions=4, more=40, size=16)
    told = regression.tried(tmp_path, 0, given)
    assert set(told["medians_ms"]) == {"A", "A again", "B"}
    for question in ("unchanged", "planted"):
        for how in (regression.ALONE, regression.AGAIN):
            assert told[f"{question}, {how}"] in regression.SAYS.values() and told[f"{question}, {how}, reasons"]
    assert told[f"planted, {regression.AGAIN}"] == "slower"


@pytest.mark.e2e
def test_the_naive_sweep_and_the_search_look_at_the_same_batches(tmp_path: Path) -> None:
    model = tiny_onnx.conv(tmp_path / "conv.onnx")
    naive = search.naive_sweep(model, [1, 2], threads=1, calls=20)
    assert naive["calls"] == 60 and [len(s) for s in naive["samples_ms"].values()] == [20, 20]
    told = search.searched(model, "1..2", 1000.0, threads=1, time_limit_s=30.0)
    assert told["verdicts"] == {1: "pass", 2: "pass"}
    assert search.row(1000.0, naive, told)["same set"] == "yes"


@pytest.mark.e2e
def test_deploytks_side_samples_in_a_child_and_raises_what_went_wrong(tmp_path: Path) -> None:
    samples, details = ours.samples_of(tiny_onnx.conv(tmp_path / "conv.onnx"), "onnx", seconds=0.2, threads=1)
    assert len(samples) >= 10 and min(samples) > 0 and details["threads"] == 1
    with pytest.raises(DeploytkError, match="NaN"):
        ours.samples_of(tiny_onnx.nan(tmp_path / "nan.onnx"), "onnx", seconds=0.2, threads=1)
