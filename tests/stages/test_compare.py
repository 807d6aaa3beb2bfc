"""Runs side by side: one row each, and a warning where the same model seems to have been measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploytk.errors import InputError
from deploytk.stages.compare import compare, markdown


def written(folder: Path, name: str, mean_ap: float, *, code: int = 0, cpu: str = "a cpu") -> Path:
    def file(path: str, value: float) -> dict[str, Any]:
        return {"path": path, "metrics": {"mAP50": value, "mAP50_95": value / 2}}

    told = {
        "title": name, "verdict": "fail" if code else "pass", "exit_code": code, "machine": {"cpu": cpu},
        "chain": [file("model.pt", mean_ap), file("model_int8.tflite", mean_ap - 0.01)],
        "sections": {
            "npu": {"ethos_score": 92.1, "cycles": 6_060_000, "time_ms": 12.1},
            "bench": {"rows": [
                {"artifact": "model.onnx", "batch": 1, "status": "ok", "p95_ms": 21.5},
                {"artifact": "model.onnx", "batch": 2, "status": "not_run", "p95_ms": None},
            ]},
        },
    }  # fmt: skip
    (folder / name).mkdir()
    (folder / name / "report.json").write_text(json.dumps(told))
    return folder / name


def test_each_run_is_a_row_with_what_was_measured(tmp_path: Path) -> None:
    report = compare([written(tmp_path, "relu", 0.8), written(tmp_path, "leaky", 0.7)])
    rows, columns = report.sections["compare"]["rows"], report.sections["compare"]["columns"]
    assert rows[0]["mAP50 float"] == 0.8
    assert rows[0]["INT8 drop"] == pytest.approx(0.01)
    assert rows[0]["Mcycles (est.)"] == 6.06
    assert (rows[0]["CPU p95 ms @1"], rows[0]["CPU p95 ms @2"]) == (21.5, "not_run")
    assert "| leaky | leaky | pass | 0.700 |" in markdown(rows, columns)
    assert not report.findings


def test_identical_metrics_are_flagged(tmp_path: Path) -> None:
    report = compare([written(tmp_path, "relu", 0.9), written(tmp_path, "leaky", 0.9)])
    assert [f.rule for f in report.findings] == ["CMP001"]


def test_different_machines_are_flagged(tmp_path: Path) -> None:
    report = compare([written(tmp_path, "a", 0.9), written(tmp_path, "b", 0.8, cpu="another")])
    assert [f.rule for f in report.findings] == ["CMP002"]


def test_one_failed_run_fails_the_comparison_with_its_exit_code(tmp_path: Path) -> None:
    report = compare([written(tmp_path, "a", 0.9), written(tmp_path, "b", 0.8, code=3)])
    assert (report.verdict.status, report.exit_code) == ("fail", 3)


def test_a_folder_without_a_report_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="deploytk run PROFILE --out"):
        compare([tmp_path])


def test_an_inconclusive_run_makes_the_comparison_inconclusive(tmp_path: Path) -> None:
    unsure = written(tmp_path, "b", 0.8, code=4)
    told = json.loads((unsure / "report.json").read_text())
    (unsure / "report.json").write_text(json.dumps({**told, "verdict": "inconclusive"}))
    report = compare([written(tmp_path, "a", 0.9), unsure])
    assert (report.verdict.status, report.exit_code) == ("inconclusive", 4)


def test_classifiers_are_compared_by_top1_and_detectors_have_no_such_column(tmp_path: Path) -> None:
    run = written(tmp_path, "letters", 0.8)
    told = json.loads((run / "report.json").read_text())
    told["chain"] = [
        {"path": path, "metrics": {"top1": top1, "top5": 1.0}}
        for path, top1 in (("model.pt", 0.9), ("model_int8.tflite", 0.87))
    ]
    (run / "report.json").write_text(json.dumps(told))
    section = compare([run]).sections["compare"]
    assert section["rows"][0]["INT8 drop"] == pytest.approx(0.03)
    assert "top1 float" in section["columns"]
    assert "mAP50 float" not in section["columns"]
    assert "top1 float" not in compare([written(tmp_path, "relu", 0.8)]).sections["compare"]["columns"]
