"""The comparison of a pipeline with its parts and with two default sessions: what its rows and its sentence say."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")
import pipeline

FOUND = {
    pipeline.OURS: [40.0] * 30,
    "deploytk int8, openvino": [20.0] * 30,
    pipeline.PEER: [72.0] * 30,
    "detector alone": [25.0] * 30,
    "classifier alone": [9.0] * 30,
    "rest": [5.0] * 30,
}


def test_a_pipeline_is_compared_with_its_parts_and_with_two_default_sessions() -> None:
    rows = {row["contender"]: row for row in pipeline.rows_of("a + b", 1, FOUND)}
    ours = rows[pipeline.OURS]
    assert ours["times as fast as default"] == 1.8
    assert ours["over the sum of its parts"] == pytest.approx(40 / 39, abs=0.001)
    assert rows[pipeline.PEER]["over the sum of its parts"] == pytest.approx(72 / 39, abs=0.001)
    int8 = rows["deploytk int8, openvino"]
    assert (int8["times as fast as default"], int8["in the models alone"]) == (3.6, round(67 / 15, 2))


def test_a_goal_that_is_missed_is_said_to_be_missed() -> None:
    slow = {**FOUND, pipeline.OURS: [46.0] * 30, "deploytk int8, openvino": [30.0] * 30}
    verdict = {"verdict": "fail", "crops": [{"crops": 1, "p95_ms": 61.0}, {"crops": 4, "p95_ms": None}]}
    told = pipeline.sentence(pipeline.rows_of("a + b", 1, slow), {pipeline.OURS: verdict})
    assert told.count("**not reached**") == 3 and "fail, p95 in ms by crops: 61.0 with 1" in told
    assert "**" not in pipeline.sentence(pipeline.rows_of("a + b", 1, FOUND), {})
