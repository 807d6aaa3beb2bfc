"""`deploytk calibrate`: a real set from the command line, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from deploytk.cli.calibrate import calibrate

pytest.importorskip("cv2", reason="OpenCV is not installed")


def told(*args: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(calibrate, [*map(str, args), "--json"])
    document: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.exit_code == document["exit_code"]
    return document


def test_a_set_of_real_photos_is_made_checked_and_listed(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = told("make", data_dir / "bccd_voc", "--name", "bccd", "--samples", "32", "--imgsz", "320")
    facts = made["sections"]["calibration"]
    assert (made["verdict"], facts["images"]) == ("pass", 32)
    assert min(facts["classes"].values()) > 0
    assert told("check", "bccd")["sections"]["calibration"]["sha256"] == facts["sha256"]
    assert told("list")["sets"][0]["sha256"] == facts["sha256"]
    assert "32 images, letterbox 320x320" in CliRunner().invoke(calibrate, ["list"]).stdout


def test_wrong_input_is_exit_2_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = told("make", "nowhere", "--name", "x")
    assert (missing["exit_code"], missing["verdict"]) == (2, "fail")
    assert told("check", "pills")["reasons"] == [
        "there is no calibration set 'pills'; make one with: deploytk calibrate make DATA --name pills"
    ]
    for args in (["make", "d", "--name", "a/b"], ["make", "d", "--name", "a", "--imgsz", "32", "--prepare", "p.yaml"]):
        assert CliRunner().invoke(calibrate, args).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_list_of_nothing_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        "no calibration set; make one with: deploytk calibrate make" in CliRunner().invoke(calibrate, ["list"]).stdout
    )
