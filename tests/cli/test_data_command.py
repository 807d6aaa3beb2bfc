"""`deploytk data check` from the command line: one JSON document, exit codes, the report's place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
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


def manifests(root: Path) -> list[Path]:
    """train.csv and val.csv of four pictures."""
    for name, numbers in (("train", (0, 1)), ("val", (2, 3))):
        for i in numbers:
            (root / f"{i}.jpg").write_bytes(jpeg(i))
        rows = "".join(f"{i}.jpg,00{i % 2}\n" for i in numbers)
        (root / f"{name}.csv").write_text(f"path,label\n{rows}")
    return [root / "train.csv", root / "val.csv"]


def test_csv_files_are_checked_as_one_manifest(tmp_path: Path) -> None:
    pytest.importorskip("polars", reason="manifests are read by polars (extra data)")
    sources = manifests(tmp_path)
    assert told(*sources, "--least", "1")["reasons"] == ["4 rows, 4 images of 2 classes: no error"]
    (tmp_path / "0.jpg").write_bytes(jpeg(0)[:300])
    more = ("--remove-corrupt", tmp_path / "clean", "--class-index", tmp_path / "classes.json", "--jobs", "1")
    broken = told(*sources, "--deep", *more)
    assert (broken["verdict"], broken["exit_code"]) == ("fail", 5)
    assert (tmp_path / "clean/train.csv").read_text() == "path,label\n../1.jpg,001\n"
    assert (tmp_path / "classes.json").is_file()
    assert told(tmp_path / "none.csv")["exit_code"] == 2


def test_options_and_files_of_the_other_kind_of_dataset_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folder, sources = yolo(tmp_path / "data"), manifests(tmp_path)
    for args, said in (
        ((*sources, "--fix", "out"), "--fix is not for a manifest; use --remove-corrupt"),
        ((*sources, "--imgsz", "320"), "--imgsz is not for a manifest"),
        ((folder, "--remove-corrupt", "out"), "--remove-corrupt is for manifests alone; use --fix"),
        ((folder, "--class-index", "out"), "--class-index is for manifests alone"),
        ((sources[0], folder), f"{folder}: several files are checked together only where each is a manifest (.csv)"),
    ):
        document = told(*args)
        assert (document["exit_code"], document["reasons"]) == (2, [said])
