"""`data check` as a report: verdict, exit code, findings a user can act on, the files it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from damaged_data import YAML, jpeg, yolo

from deploytk.data.checks import image_checks
from deploytk.errors import InputError
from deploytk.report import Report, render
from deploytk.report.loading import report_from
from deploytk.stages.data_check import check


def section(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = report.sections["data_check"]
    return told


def rules(report: Report, severity: str = "error") -> list[str]:
    return [f.rule for f in report.findings if f.severity == severity]


def many(root: Path) -> Path:
    """Enough objects of each class that none is rare."""
    return yolo(root, train=12, val=3)


def test_a_sound_dataset_passes_without_a_finding(tmp_path: Path) -> None:
    report = check(many(tmp_path), deep=True, jobs=1)
    assert (report.verdict.status, report.exit_code, report.findings) == ("pass", 0, ())
    assert report.verdict.reasons == ("15 images, 30 objects of 2 classes: no error",)
    assert section(report)["classes"][0] == {
        "class": "ring", "train": 12, "val": 3, "median_px": 170.67, "tenth_px": 170.67,
    }  # fmt: skip


def test_an_error_is_exit_code_5_and_its_finding_says_where_how_many_and_what_to_do(tmp_path: Path) -> None:
    source = many(tmp_path)
    for i in range(5):
        (tmp_path / f"labels/train/{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n1 0.5 0.5 0.4\n0 0.5 1.5 0.4 0.4\n")
    report = check(source)
    assert (report.verdict.status, report.exit_code) == ("fail", 5)
    assert report.verdict.reasons == ("15 images, 25 objects of 2 classes: 10 errors (DAT021, DAT023)",)
    found = report.findings[0]
    assert (found.rule, found.where) == ("DAT021", "labels/train/0.txt:2")
    assert found.message == (
        "4 numbers; expected 5: class x y w h (or class and a polygon); 4 more: labels/train/1.txt:2, "
        "labels/train/2.txt:2, labels/train/3.txt:2, …"
    )
    assert found.fix.startswith("correct the line")


def test_warnings_alone_pass(tmp_path: Path) -> None:
    report = check(yolo(tmp_path))
    assert (report.exit_code, rules(report, "warning")) == (0, ["DAT042"])
    assert report.findings[0].message == "ring: 3 objects in train; 1 more: block: 3 objects in train"


def test_classes_that_train_lacks_are_told_apart(tmp_path: Path) -> None:
    source = many(tmp_path)
    source.write_text(YAML.replace("[ring, block]", "[ring, block, only_val, nowhere]"))
    (tmp_path / "labels/val/0.txt").write_text("2 0.5 0.5 0.4 0.4\n")
    found = {f.rule: f.message for f in check(source).findings}
    assert found == {
        "DAT040": "nowhere: no object in any split",
        "DAT041": "only_val: 1 object in val, none in train",
    }


def test_a_hundredfold_imbalance_is_a_warning(tmp_path: Path) -> None:
    source = many(tmp_path)
    grid = [f"0 {(x + 0.5) / 40:.4f} {(y + 0.5) / 40:.4f} 0.025 0.025\n" for x in range(40) for y in range(40)]
    (tmp_path / "labels/train/0.txt").write_text("".join(grid))
    found = {f.rule: f.message for f in check(source, imgsz=640).findings}
    assert found["DAT043"] == "1611 objects of ring, 11 of block"


def test_tiny_objects_are_an_error_at_one_image_size_and_none_at_a_larger_one(tmp_path: Path) -> None:
    source = many(tmp_path)
    for file in (tmp_path / "labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.1 0.4\n1 0.2 0.2 0.3 0.3\n")
    assert rules(check(source, imgsz=32)) == []
    assert rules(check(source, imgsz=32), "warning") == ["DAT061"]
    assert check(source, imgsz=96).findings == ()


def test_a_leak_is_found_by_content_quickly_and_by_looks_with_deep(tmp_path: Path) -> None:
    source = many(tmp_path)
    (tmp_path / "images/train/0.jpg").write_bytes((tmp_path / "images/val/0.jpg").read_bytes())
    (tmp_path / "images/train/1.jpg").write_bytes(jpeg(14, (192, 128), 70))  # val/1.jpg, larger
    assert rules(check(source)) == ["DAT050"]
    deep = check(source, deep=True, jobs=1)
    assert (rules(deep), rules(deep, "warning")) == (["DAT050"], ["DAT052"])
    pairs = [(p["kind"], p["image"], p["other"]) for p in section(deep)["pairs"]]
    assert pairs == [
        ("same", "images/train/0.jpg", "images/val/0.jpg"),
        ("alike", "images/train/1.jpg", "images/val/1.jpg"),
    ]


def test_what_was_not_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = many(tmp_path)
    assert "without --deep" in section(check(source))["notes"][0]
    monkeypatch.setattr(image_checks, "_simplejpeg", lambda: None)
    assert "simplejpeg is not installed" in section(check(source, deep=True, jobs=1))["notes"][0]
    monkeypatch.undo()


def test_every_place_stands_in_the_details_and_the_report_in_its_files(tmp_path: Path) -> None:
    source = many(tmp_path / "data")
    for i in range(12):
        (tmp_path / f"data/labels/train/{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n" + "x\n" * 30)
    report = check(source, out=tmp_path / "out")
    told = json.loads((tmp_path / "out/data-check.json").read_text())
    assert len(told["problems"]) == 12 * 30 + 1
    assert told["problems"][0]["file"] == "labels/train/0.txt"
    html = render.write(report, tmp_path / "out")["html"].read_text()
    assert "A label line is made of numbers." in html
    again = report_from(json.loads((tmp_path / "out/report.json").read_text()))
    assert again.as_dict() == json.loads(json.dumps(report.as_dict()))


def test_the_cleaned_copy_is_told_and_passes_its_own_check(tmp_path: Path) -> None:
    source = many(tmp_path / "data")
    (tmp_path / "data/images/train/0.jpg").write_bytes(jpeg(1)[:400])
    report = check(source, fix=tmp_path / "out")
    assert report.exit_code == 5
    told = "has 11 in train, 3 in val, 28 objects; left out: 1 image and 0 label lines (rejected.csv)"
    assert report.verdict.reasons[1].endswith(told)
    assert section(report)["cleaned"]["images"] == {"train": 11, "val": 3}
    again = check(tmp_path / "out", deep=True, jobs=1, fix=tmp_path / "again")
    assert (again.exit_code, again.findings) == (0, ())
    assert again.verdict.reasons[1].endswith("nothing was left out")


def test_a_split_that_is_missing_is_an_error_and_the_other_is_looked_at(tmp_path: Path) -> None:
    source = many(tmp_path)
    source.write_text(YAML.replace("images/train", "gone"))
    (tmp_path / "images/val/0.jpg").write_bytes(b"")
    report = check(source)
    assert rules(report) == ["DAT002", "DAT011"]
    assert [row["split"] for row in section(report)["splits"]] == ["val"]


@pytest.mark.parametrize("what", ["nowhere", "empty folder", "no yaml", "no images"])
def test_what_is_no_dataset_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "data"
    if what != "nowhere":
        path.mkdir()
    if what == "no yaml":
        (path / "data.yaml").write_text("train: [")
    if what == "no images":
        (path / "data.yaml").write_text(YAML)
    with pytest.raises(InputError) as raised:
        check(path)
    assert raised.value.exit_code == 2


def test_a_folder_that_is_there_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is there already"):
        check(tmp_path / "nowhere", fix=tmp_path)


def test_real_photos_pass(data_dir: Path) -> None:
    report = check(data_dir / "bccd_voc", deep=True, jobs=1)
    assert report.exit_code == 0
    # Its lists name images that the copy of the set used here leaves out, and one field was photographed twice.
    assert rules(report, "warning") == ["DAT013", "DAT052"]
