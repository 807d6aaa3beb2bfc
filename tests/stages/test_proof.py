"""What an export adds up to: contract, agreement, metric and placement, and the exit code of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploytk.artifact import Artifact
from deploytk.profile import Profile
from deploytk.stages.parity_verdict import brief
from deploytk.stages.proof import Checks


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


def row(output: str, **told: Any) -> dict[str, Any]:
    return {"output": output, "batch": 1, "size": [64, 64], **told}


def agreement(db: float, precision: str = "fp32", *more: dict[str, Any]) -> dict[str, Any]:
    layer = {"layer": "/model.3/conv/Conv", "op": "Conv", "before_db": 80.0, "sqnr_db": db}
    rows = [row("boxes", sqnr_db=90.0), row("scores", sqnr_db=db), *more]
    found = {"precision": precision, "computed_in": precision, "samples": 8, "rows": rows, "layers": [layer]}
    return brief({**found, "layers_at": "batch 1, 64x64", "notes": []})


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
    checks.agreement(artifact("m.onnx", agreement=agreement(80.0)), artifact("s"))
    checks.metric(artifact("m.onnx", 0.79), artifact("s", 0.8))
    checks.placement(placed())
    status, code, reasons = ended(checks)
    assert (status, code) == ("pass", 0)
    assert "Ethos score 92.0" in reasons
    assert "(estimated)" in reasons


def test_scores_that_differ_fail_even_where_the_boxes_agree_and_the_layer_is_named(checks: Checks) -> None:
    checks.agreement(artifact("m.onnx", agreement=agreement(12.0)), artifact("s"))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "scores differ" in reasons
    assert "the first layer that went wrong is /model.3/conv/Conv" in reasons


def test_int8_noise_is_reported_and_the_metric_decides(checks: Checks) -> None:
    checks.agreement(artifact("m.tflite", agreement=agreement(2.0, "int8")), artifact("s"))
    assert ended(checks)[:2] == ("pass", 0)
    checks.metric(artifact("m.tflite", 0.75), artifact("s", 0.8))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "fell from 0.800 to 0.750" in reasons
    assert [p["ok"] for p in checks.parity] == [None, None, False]


def test_boxes_that_are_not_found_again_fail_a_float_model(checks: Checks) -> None:
    lost = row("boxes found again", boxes=40, iou50=0.9, iou90=0.85, mean_iou=0.97)
    checks.agreement(artifact("m.onnx", agreement=agreement(60.0, "fp32", lost)), artifact("s"))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "85.0% of s's boxes are found again (IoU 0.9)" in reasons
    assert {p["metric"]: p["converted"] for p in checks.parity}["boxes found again, IoU 0.9"] == 0.85


def test_an_output_that_cannot_be_right_fails_at_any_precision(checks: Checks) -> None:
    nan = row("scores", error="the output holds NaN or infinity")
    checks.agreement(artifact("m.onnx", agreement=agreement(60.0, "int8", nan)), artifact("s"))
    status, code, reasons = ended(checks)
    assert (status, code) == ("fail", 8)
    assert "NaN" in reasons


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


def test_of_a_classifier_top1_decides() -> None:
    checks = Checks(Profile(schema=1, name="x", backend="classifier"))  # type: ignore[call-arg]
    before, after = (replace(artifact(name), metrics={"top1": top1}) for name, top1 in (("s", 0.9), ("m", 0.8)))
    checks.metric(after, before)
    assert "m: top1 fell from 0.900 to 0.800" in ended(checks)[2]
    assert checks.report("export", after, (before, after), {}).sections["contract"]["expected"] == {"network": "silu"}
