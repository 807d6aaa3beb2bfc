"""JUnit for CI: well formed, one case for each point, red exactly when the exit code is not 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from report_fakes import MACHINE, broken, full, measured

from deploytk.budget import Budget, Verdict
from deploytk.report import Finding, Report
from deploytk.report.junit import junit


def bench(**changes: Any) -> Report:
    """A bench in which batch 1 passes, 2 is undecided, 4 over the budget, 8 crashed and 16 was not run."""
    told = {1: "pass", 2: "inconclusive", 4: "fail", 8: "fail"}
    rows = [
        {"artifact": "model.onnx", "runtime": "onnx", "batch": b, "verdict": v, "reason": f"why {b}"}
        for b, v in told.items()
        if b < 8
    ]
    found = (
        *(measured("b", b, 2.0 * b) for b in (1, 2, 4)),
        broken("b", 8, "crash", "died of SIGSEGV"),
        broken("b", 16, "not_run", "batch 8 crashed"),
    )
    values = {"command": "bench", "verdict": Verdict(status="fail", reasons=("Batch 4 fails.",)), "exit_code": 3}
    return full(**{**values, "measurements": found, "findings": (), "sections": {"bench": {"rows": rows}}, **changes})


def cases(report: Report) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.fromstring(junit(report)).iter("testcase")}


def outcome(case: ET.Element) -> str:
    return next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")


def red(report: Report) -> bool:
    suite = ET.fromstring(junit(report))
    return int(suite.get("failures", 0)) + int(suite.get("errors", 0)) > 0


def test_every_point_is_a_case_with_what_became_of_it() -> None:
    found = {name: outcome(case) for name, case in cases(bench()).items()}
    assert found == {
        "model.onnx onnx batch 1": "passed",
        "model.onnx onnx batch 2": "skipped",
        "model.onnx onnx batch 4": "failure",
        "model.onnx onnx batch 8": "error",
        "model.onnx onnx batch 16": "skipped",
        "verdict": "failure",
    }


def test_reasons_are_the_messages() -> None:
    found = cases(bench())
    assert found["model.onnx onnx batch 4"].find("failure").get("message") == "why 4"  # type: ignore[union-attr]
    assert found["model.onnx onnx batch 8"].find("error").get("type") == "crash"  # type: ignore[union-attr]
    assert found["model.onnx onnx batch 2"].find("skipped").get("message") == "inconclusive: why 2"  # type: ignore[union-attr]
    assert "exit code 3: Batch 4 fails." in found["verdict"].find("failure").get("message")  # type: ignore[union-attr]


def test_time_is_what_the_samples_took() -> None:
    report = bench()
    case = cases(report)["model.onnx onnx batch 1"]
    assert float(case.get("time", 0)) == pytest.approx(sum(report.measurements[0].samples_ms) / 1000, abs=1e-6)


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("make", [bench, full])
def test_the_file_is_red_exactly_when_the_exit_code_is_not_0(make: Any, code: int) -> None:
    status = "pass" if code == 0 else "inconclusive" if code == 4 else "fail"
    assert red(make(exit_code=code, verdict=Verdict(status=status, reasons=("because",)))) is (code != 0)


def test_a_point_that_fails_in_a_report_that_passes_is_skipped_and_says_so() -> None:
    case = cases(bench(exit_code=0, verdict=Verdict(status="pass")))["model.onnx onnx batch 4"]
    assert case.find("skipped").get("message") == "over budget, which the verdict allows: why 4"  # type: ignore[union-attr]


def test_a_check_shows_its_findings() -> None:
    errors = (Finding(rule="EU003", severity="error", where="conv1", message="stride 4"),)
    warning = Finding(rule="EU009", severity="warning", where="conv2", message="slow")
    report = Report(
        command="check", verdict=Verdict(status="fail"), exit_code=5, findings=(*errors, warning), machine=MACHINE
    )
    found = {name: outcome(case) for name, case in cases(report).items()}
    assert found == {"EU003 conv1": "failure", "EU009 conv2": "passed", "verdict": "failure"}


def test_properties_say_what_was_judged_and_where() -> None:
    suite = ET.fromstring(junit(bench(budget=Budget(latency_ms=20, percentile=99))))
    told = {p.get("name"): p.get("value", "") for p in suite.iter("property")}
    assert told["budget"] == "p99 under 20 ms per batch at 95 % confidence, model"
    assert "Some CPU @ 2.5 GHz, 2 cores" in told["machine"]
    assert told["sha256"] == "d" * 64
    assert told["version.onnxruntime"] == "1.31.1"


def test_what_xml_cannot_hold_is_written_out() -> None:
    evil = "a\x00b<&>\x1b[1m\ud800"
    report = bench(verdict=Verdict(status="fail", reasons=(evil,)), title=evil)
    message = cases(report)["verdict"].find("failure").text  # type: ignore[union-attr]
    assert message == "a\\x00b<&>\\x1b[1m\\ud800"


def test_several_thread_counts_are_told_apart() -> None:
    one, two = measured("b", 1, 2.0), measured("b", 1, 2.0)
    found = cases(bench(measurements=(replace(one, details={"threads": 1}), two), sections={}))
    assert set(found) == {"model.onnx onnx 1 threads batch 1", "model.onnx onnx 2 threads batch 1", "verdict"}


def test_what_became_of_a_case_stands_before_its_output_as_the_schema_has_it() -> None:
    assert [child.tag for child in cases(bench())["model.onnx onnx batch 4"]] == ["failure", "system-out"]
