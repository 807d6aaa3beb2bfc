"""What an export adds up to: contract, agreement, metric and placement, and the exit code of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploytk.artifact import Artifact
from deploytk.profile import Profile
from deploytk.stages.proof import FLOAT_SQNR_DB, Checks
from deploytk.stages.steps import compared


def artifact(name: str, mean_ap: float = 0.8, **settings: Any) -> Artifact:
    return Artifact(
        path=Path(name),
        format="onnx",
        precision="fp32",
        sha256=name,
        made_by="test",
        metrics={"mAP50": mean_ap},
        settings=settings,
    )


def agreement(db: float) -> dict[str, Any]:
    return {"images": 8, "boxes": {"sqnr_db": 90.0}, "scores": {"sqnr_db": db}}


def placed(**changed: Any) -> dict[str, Any]:
    return {
        "accelerator": "ethos-u55-256", "npu_ops": 10, "cpu_ops": 0, "ethos_score": 92.0, "time_ms": 6.0,
        "findings": [], **changed,
    }  # fmt: skip


@pytest.fixture
def checks() -> Checks:
    return Checks(Profile(schema=1, name="x"))  # type: ignore[call-arg]


def ended(checks: Checks) -> tuple[str, int, str]:
    report = checks.report("export", artifact("a"), (artifact("a"),), {})
    return report.verdict.status, report.exit_code, " ".join(report.verdict.reasons)


def test_nothing_wrong_is_a_pass_with_its_evidence(checks: Checks) -> None:
    checks.agreement(artifact("m.onnx", agreement=agreement(80.0)), artifact("s"), FLOAT_SQNR_DB)
    checks.metric(artifact("m.onnx", 0.79), artifact("s", 0.8))
    checks.placement(placed())
    status, code, reasons = ended(checks)
    assert (status, code) == ("pass", 0)
    assert "Ethos score 92.0" in reasons
    assert "(estimated)" in reasons


def test_scores_that_differ_fail_even_where_the_boxes_agree(checks: Checks) -> None:
    checks.agreement(artifact("m.onnx", agreement=agreement(12.0)), artifact("s"), FLOAT_SQNR_DB)
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "scores differ" in reasons


def test_int8_noise_is_reported_and_the_metric_decides(checks: Checks) -> None:
    checks.agreement(artifact("m.tflite", agreement=agreement(12.0)), artifact("s"), None)
    checks.metric(artifact("m.tflite", 0.75), artifact("s", 0.8))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "fell from 0.800 to 0.750" in reasons


def test_an_output_that_cannot_be_compared_fails(checks: Checks) -> None:
    broken = artifact("m.onnx", agreement={"images": 8, "error": "the output holds NaN or infinity"})
    checks.agreement(broken, artifact("s"), None)
    assert ended(checks)[1] == 8


def test_a_source_that_learned_nothing_proves_nothing(checks: Checks) -> None:
    checks.metric(artifact("m.onnx", 0.0), artifact("s", 0.0))
    assert ended(checks)[:2] == ("inconclusive", 4)


def test_an_operator_on_the_cpu_fails_and_no_time_is_quoted(checks: Checks) -> None:
    checks.placement(placed(cpu_ops=3, time_ms=None, ethos_score=40.0))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 5)
    assert "3 of 13 operators stay on the CPU" in reasons
    assert "ms" not in reasons


def test_operators_on_the_cpu_that_are_allowed_give_no_time(checks: Checks) -> None:
    allowed = checks.profile.export.model_copy(update={"max_cpu_ops": 3})
    lenient = Checks(checks.profile.model_copy(update={"export": allowed}))
    lenient.placement(placed(cpu_ops=3, time_ms=None, ethos_score=70.0))
    status, code, reasons = ended(lenient)
    assert (status, code) == ("pass", 0)
    assert "no time while an operator is on the CPU" in reasons


def test_a_broken_rule_outranks_a_lost_accuracy(checks: Checks) -> None:
    checks.metric(artifact("m.tflite", 0.1), artifact("s", 0.8))
    checks.placement(placed(npu_ops=0, cpu_ops=5, ethos_score=0.0, time_ms=None))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 5)
    assert "fell from" in reasons


def test_equal_outputs_are_beyond_float32_and_nan_is_an_error() -> None:
    outputs = np.random.default_rng(0).random((2, 7, 84))
    same = compared(outputs, outputs.copy())
    assert same["boxes"]["sqnr_db"] == same["scores"]["sqnr_db"] == 200.0
    assert same["boxes"]["cosine"] == pytest.approx(1.0)
    assert "NaN" in compared(outputs, np.full_like(outputs, np.nan))["error"]
    assert "shape" in compared(outputs, outputs[:, :5])["error"]


def test_zero_outputs_of_a_living_model_are_far_off() -> None:
    outputs = np.random.default_rng(0).random((2, 7, 84))
    assert compared(outputs, np.zeros_like(outputs))["scores"]["sqnr_db"] == pytest.approx(0.0)
    assert compared(np.zeros_like(outputs), outputs)["scores"]["sqnr_db"] == -200.0
