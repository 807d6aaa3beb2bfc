"""`calibrate`: what is short is said, what was used stays what it was, a check sees what has become of the files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from calibration_fakes import folders, picture, yolo

from deploytk.errors import EXIT_PASS, InputError
from deploytk.report import Report
from deploytk.stages import calibrate

pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(data: Path, **changes: Any) -> Report:
    asked = {"name": "mine", "samples": 8, "imgsz": 32, "prepare": None, "seed": 0, "out": Path("calibration")}
    return calibrate.make(data, **{**asked, **changes})


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def test_a_set_is_made_told_and_listed(tmp_path: Path) -> None:
    report = made(yolo(tmp_path / "data", [0, 1, 2] * 4))
    told = report.sections["calibration"]
    assert (report.exit_code, rules(report)) == (EXIT_PASS, [])
    assert "none of them is among the 3 val images, by content" in report.verdict.reasons[1]
    assert (told["images"], told["preparation"]) == (8, "letterbox 32x32 rgb, float32 nchw")
    assert [(row["name"], row["sha256"]) for row in calibrate.listed()] == [("mine", told["sha256"])]
    assert calibrate.check("mine").sections["calibration"]["sha256"] == told["sha256"]


def test_fewer_images_than_asked_and_classes_without_a_sample_are_said(tmp_path: Path) -> None:
    report = made(yolo(tmp_path, [0, 1] * 5, classes=3), samples=64)
    assert rules(report) == ["CAL001", "CAL002"]
    assert "64 samples asked for, 10 different images" in report.verdict.reasons[2]
    assert "no sample has c2 (1 of 3 classes)" in report.verdict.reasons[3]


def test_without_an_evaluation_split_nothing_is_said_to_be_proved(tmp_path: Path) -> None:
    assert rules(made(folders(tmp_path / "data", train="", val=""))) == ["CAL003"]
    assert rules(calibrate.check("mine")) == ["CAL003"]


def test_the_usual_sizes_and_a_file_that_says_its_own(tmp_path: Path) -> None:
    data = yolo(tmp_path / "a", [0] * 8)
    assert made(data, imgsz=None).sections["calibration"]["preparation"].startswith("letterbox 640x640")
    leaves = folders(tmp_path / "b")
    usual = made(leaves, name="usual", imgsz=None).sections["calibration"]
    assert usual["preparation"].startswith("center-crop 224x224")
    (tmp_path / "p.yaml").write_text("kind: resize\nsize: [28, 20]\ncolour: gray\n", encoding="utf-8")
    stated = made(leaves, name="stated", imgsz=None, prepare=tmp_path / "p.yaml").sections["calibration"]
    assert stated["preparation"] == "resize 28x20 gray, float32 nchw"
    (tmp_path / "p.yaml").write_text("kind: resize\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"p\.yaml: size: is missing"):
        made(leaves, name="none", imgsz=None, prepare=tmp_path / "p.yaml")


def test_a_set_that_was_made_does_not_become_another_one(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 30)
    first = made(data).sections["calibration"]["sha256"]
    assert made(data).sections["calibration"]["sha256"] == first
    with pytest.raises(InputError, match="another calibration set of this name stands here"):
        made(data, seed=1)
    assert calibrate.check("mine").sections["calibration"]["sha256"] == first


def test_a_set_of_the_same_name_in_another_folder_is_in_nobodys_way(tmp_path: Path) -> None:
    data = yolo(tmp_path / "data", [0] * 30)
    made(data)
    assert made(data, seed=1, out=Path()).exit_code == EXIT_PASS


def test_a_broken_set_is_listed_as_broken_and_may_be_made_again(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 8)
    made(data)
    Path("calibration/mine/set.yaml").write_text("naem: mine\n", encoding="utf-8")
    assert "did you mean 'name'?" in calibrate.listed()[0]["error"]
    assert made(data).exit_code == EXIT_PASS


def test_a_check_names_every_sample_that_is_gone_or_changed(tmp_path: Path) -> None:
    made(yolo(tmp_path, [0] * 12), samples=12)
    (tmp_path / "images/train/001.png").unlink()
    picture(tmp_path / "images/train/002.png", 5, 5)
    with pytest.raises(InputError) as caught:
        calibrate.check("mine")
    assert {reason.split(":")[0].rsplit("/", 1)[1] for reason in caught.value.reasons} == {"001.png", "002.png"}


def test_many_samples_that_are_gone_are_counted(tmp_path: Path) -> None:
    made(yolo(tmp_path, [0] * 12), samples=12)
    shutil.rmtree(tmp_path / "images/train")
    with pytest.raises(InputError) as caught:
        calibrate.check("mine")
    assert caught.value.reasons[-1] == "and 4 samples more"


def test_a_check_sees_an_evaluation_split_that_has_changed_since(tmp_path: Path) -> None:
    made(yolo(tmp_path, [0] * 8))
    picture(tmp_path / "images/val/new.png", 5, 5)
    assert rules(calibrate.check("mine")) == ["CAL005"]
    shutil.copy(tmp_path / "images/train/004.png", tmp_path / "images/val/leak.png")
    with pytest.raises(InputError, match=r"train/004\.png is .*val/leak\.png"):
        calibrate.check("mine")


def test_a_check_without_the_evaluation_images_says_what_it_rests_on(tmp_path: Path) -> None:
    made(yolo(tmp_path, [0] * 8))
    shutil.rmtree(tmp_path / "images/val")
    report = calibrate.check("mine")
    assert (rules(report), report.exit_code) == (["CAL004"], EXIT_PASS)
