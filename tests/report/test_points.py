"""Bench rows and measurements say the same thing once."""

from __future__ import annotations

from report_fakes import full

from deploytk.report.points import points


def test_a_row_adds_its_verdict_to_its_measurement() -> None:
    rows = [{"artifact": "model.onnx", "batch": 4, "verdict": "pass", "status": "ok", "p95_ms": None}]
    found = points(full(sections={"bench": {"rows": rows}}))
    both = [p for p in found if (p.artifact, p.batch) == ("model.onnx", 4)]
    assert len(both) == 1
    assert both[0].verdict == "pass"
    assert both[0].p95_ms is not None
    assert len(both[0].samples_ms) == 200


def test_artifacts_keep_their_order_and_batches_rise() -> None:
    found = [(p.artifact, p.batch) for p in points(full())]
    assert found[:8] == [*(("model.onnx", b) for b in (1, 2, 4, 8, 16, 32, 64)), ("model_int8.tflite", 1)]


def test_an_estimate_has_one_time_and_no_percentiles() -> None:
    estimate = next(p for p in points(full()) if p.estimated)
    assert (estimate.judged_ms, estimate.p50_ms, estimate.p99_ms, estimate.n) == (4.21, None, None, 0)


def test_damaged_rows_are_left_out() -> None:
    assert points(full(measurements=(), sections={"bench": {"rows": ["x", {"batch": "two"}, {}]}})) == []
    assert points(full(measurements=(), sections={"bench": None})) == []
