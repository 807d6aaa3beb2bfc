"""`deploytk data check` from the command line: one JSON document, exit codes, the report's place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from damaged_data import jpeg, yolo

from deploytk.cli.data import data


def told(*args: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(data, ["check", *map(str, args), "--json"])
    document: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.exit_code == document["exit_code"]
    return document


def test_verdict_and_exit_code_are_in_the_document(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    assert told(source)["verdict"] == "pass"
    (tmp_path / "data/images/val/0.jpg").write_bytes(jpeg(4)[:300])
    broken = told(source, "--deep", "--jobs", "1", "--imgsz", "320")
    assert (broken["verdict"], broken["exit_code"]) == ("fail", 5)
    assert broken["sections"]["data_check"]["imgsz"] == 320
    assert told(tmp_path / "nowhere")["exit_code"] == 2


def test_a_person_sees_splits_classes_findings_and_where_the_report_is(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    (tmp_path / "data/images/val/0.jpg").write_bytes(jpeg(4)[:300])
    args = ["check", str(source), "--out", str(tmp_path / "out"), "--fix", str(tmp_path / "clean")]
    done = CliRunner().invoke(data, args)
    assert done.exit_code == 5
    finding = "error DAT005 images/val/0.jpg: cut off"
    for expected in ("not usable", finding, "data/data.yaml: exit code 5", "cleaned: "):
        assert expected in done.stdout
    assert f"report: {tmp_path / 'out' / 'report.html'}" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("data-check.json", "report.html", "report.json", "report.md"),
    ]
    assert (tmp_path / "clean/data.yaml").is_file()


def test_an_image_size_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(data, ["check", str(yolo(tmp_path)), "--imgsz", "0"]).exit_code == 2
