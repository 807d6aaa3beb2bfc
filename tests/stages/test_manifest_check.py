"""`data check` of a manifest as a report: what is found and where, what is left out, what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from damaged_data import jpeg, picture
from PIL import ImageOps

pytest.importorskip("polars", reason="manifests are read by polars (extra data)")

from manifest_files import append, sound, written

from deploytk.data import class_index
from deploytk.errors import InputError
from deploytk.report import Report, render
from deploytk.stages.manifest_check import check


def places(report: Report, rule: str) -> str:
    """What is said of a rule: where it does not hold, and what was found."""
    return next((f"{f.where}: {f.message}" for f in report.findings if f.rule == rule), "")


def rules(report: Report) -> list[str]:
    return [f.rule for f in report.findings]


def rejected(folder: Path) -> list[list[str]]:
    with (folder / "rejected.csv").open(encoding="utf-8", newline="") as stream:
        return [[row["file"], row["row"], row["rule"]] for row in csv.DictReader(stream)]


def test_a_sound_manifest_passes_without_a_finding(tmp_path: Path) -> None:
    report = check(sound(tmp_path), deep=True, jobs=1, least=2)
    assert (report.verdict.status, report.exit_code, report.findings) == ("pass", 0, ())
    assert report.verdict.reasons == ("6 rows, 6 images of 2 classes: no error",)
    assert report.sections["data_check"]["splits"][0] == {
        "split": "train", "rows": 4, "images": 4, "unusable": 0, "classes": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "DAT001"),
        (b"", "DAT002"),
        (b"<html>404", "DAT003"),
        (jpeg(0)[:400], "DAT005"),
        (b"\xff\xd8\xff\xd9", "DAT006"),
        (jpeg(0, (4, 4)), "DAT007"),
        (jpeg(0, (640, 480))[:4096] + bytes(4096) + jpeg(0, (640, 480))[8192:], "DAT015"),
    ],
)
def test_a_broken_image_is_told_with_its_row_and_left_out(tmp_path: Path, content: bytes | None, rule: str) -> None:
    train, val = sound(tmp_path / "data")
    (tmp_path / "data/2.jpg").unlink() if content is None else (tmp_path / "data/2.jpg").write_bytes(content)
    report = check((train, val), jobs=1, least=1, remove=tmp_path / "clean")
    assert (rules(report), report.exit_code) == ([rule], 5)
    assert places(report, rule).startswith("train.csv:4: 2.jpg: ")
    assert rejected(tmp_path / "clean") == [["train.csv", "4", rule]]


def test_only_a_deep_look_finds_flipped_bytes_within_a_jpeg(tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg", reason="finds changed bytes within JPEGs (extra data)")
    sources = sound(tmp_path)
    data = jpeg(1, (640, 480))
    third = len(data) // 3
    (tmp_path / "1.jpg").write_bytes(data[:third] + b"\xff" * 120 + data[third + 120 :])
    assert rules(check(sources, jobs=1, least=1)) == []
    assert rules(check(sources, deep=True, jobs=1, least=1)) == ["DAT009"]


def test_leaks_copies_and_contradictions_are_told_with_both_places(tmp_path: Path) -> None:
    train, val = sound(tmp_path, train=6, val=3)
    (tmp_path / "7.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    append(train, "0.jpg,007", "2.jpg,cat")
    append(val, "4.jpg,007")
    report = check((train, val), jobs=1, least=1, remove=tmp_path / "clean")
    assert rules(report) == ["DAT050", "DAT072", "DAT073", "DAT074"]
    assert places(report, "DAT050") == "train.csv:3: 1.jpg is the same as 7.jpg (val.csv:3, val)"
    assert places(report, "DAT072") == "train.csv:9: labelled 'cat', the same picture in train.csv:4 '007'"
    assert places(report, "DAT073") == "train.csv:6: 4.jpg in train is val.csv:5 in val"
    assert places(report, "DAT074") == "train.csv:8: 0.jpg is listed in train.csv:2 already"
    # The contradiction stays: a person has to say which label is right.
    assert rejected(tmp_path / "clean") == [
        ["train.csv", "3", "DAT050"], ["train.csv", "6", "DAT073"], ["train.csv", "8", "DAT074"],
    ]  # fmt: skip
    again = check((tmp_path / "clean/train.csv", tmp_path / "clean/val.csv"), jobs=1, least=1)
    assert rules(again) == ["DAT072"]


def test_one_content_under_two_labels_is_a_contradiction_whatever_the_names(tmp_path: Path) -> None:
    train, val = sound(tmp_path)
    (tmp_path / "1.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    report = check((train, val), jobs=1, least=1, remove=tmp_path / "clean")
    assert rules(report) == ["DAT053", "DAT072"]
    assert rejected(tmp_path / "clean") == []


def test_a_photo_of_train_saved_again_or_mirrored_is_found_in_val(tmp_path: Path) -> None:
    train, val = sound(tmp_path)
    (tmp_path / "4.jpg").write_bytes(jpeg(0, (200, 140), quality=60))
    ImageOps.mirror(picture(1)).save(tmp_path / "5.jpg", quality=85)
    report = check((train, val), deep=True, jobs=1, least=1)
    assert (rules(report), report.exit_code) == (["DAT052"], 0)
    found = [e["said"] for e in report.sections["data_check"]["rules"][0]["examples"]]
    assert found[0].startswith("0.jpg looks like 4.jpg (val.csv:2, val; ")
    assert found[1].startswith("1.jpg looks like the mirrored 5.jpg (val.csv:3, val; ")


def test_each_row_without_a_label_is_told_and_of_an_image_with_many_rows_what_is_wrong_is_told_once(
    tmp_path: Path,
) -> None:
    train, val = sound(tmp_path)
    append(train, "0.jpg,", "1.jpg,", "gone.jpg,cat", "gone.jpg,cat")
    report = check((train, val), jobs=1, least=1, remove=tmp_path / "clean")
    found = {rule["rule"]: rule["found"] for rule in report.sections["data_check"]["rules"]}
    assert found == {"DAT001": 1, "DAT070": 2, "DAT074": 1}
    assert [row for _, row, _ in rejected(tmp_path / "clean")] == ["6", "7", "8", "9"]


def test_classes_that_are_rare_or_only_in_val_and_labels_that_look_the_same(tmp_path: Path) -> None:
    train, val = sound(tmp_path, train=6, val=3, labels=("cat", "cat", "Cat "))
    append(val, "6.jpg,dog")
    report = check((train, val), jobs=1, least=3)
    assert places(report, "DAT041") == "train.csv: dog: 1 image in val, none in train"
    assert places(report, "DAT042") == "train.csv: Cat : 2 images in train"
    assert places(report, "DAT075") == "train.csv:4: label 'Cat ' beside 'cat', which has 6 rows"


def test_of_an_image_with_boxes_each_object_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    header = "path,label,x1,y1,x2,y2"
    rows = ("a.jpg,x,1,1,9,9", "a.jpg,y,1,1,9,9", "a.jpg,x,1,1,9,9", "a.jpg,x,96,1,99,9", "a.jpg,y,1,1,120,9")
    train = written(tmp_path / "train.csv", *rows, header=header)
    report = check((train, written(tmp_path / "val.csv", "b.jpg,x,,,,", header=header)), jobs=1, least=1)
    assert rules(report) == ["DAT033", "DAT071", "DAT074"]
    assert places(report, "DAT071") == "train.csv:5: box 96, 1, 99, 9 begins beyond its image of 96x64"


def test_the_cleaned_manifest_has_the_same_columns_the_rows_in_order_and_paths_that_lead_to_the_images(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    sound(folder)
    train = written(
        folder / "train.csv", '0.jpg,007,"a, b"', "1.jpg,cat,", f"{folder}/2.jpg,007,c", header="path,label,note"
    )
    (folder / "1.jpg").write_bytes(b"")
    report = check((train, folder / "val.csv"), jobs=1, least=1, remove=tmp_path / "new/clean")
    text = (tmp_path / "new/clean/train.csv").read_text()
    assert text == f'path,label,note\n../../data/0.jpg,007,"a, b"\n{folder}/2.jpg,007,c\n'
    assert (tmp_path / "new/clean" / "../../data/0.jpg").is_file()
    assert "cleaned: " in report.verdict.reasons[1]
    assert sorted(p.name for p in (tmp_path / "new/clean").iterdir()) == ["rejected.csv", "train.csv", "val.csv"]


def test_a_folder_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    with pytest.raises(InputError, match="is there already; give --remove-corrupt a new folder"):
        check(sound(tmp_path), remove=tmp_path / "clean")


def test_nothing_is_written_where_no_row_of_a_split_is_left(tmp_path: Path) -> None:
    train, val = sound(tmp_path / "data", train=2, val=1)
    (tmp_path / "data/2.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="no row of val could be kept; nothing was written"):
        check((train, val), jobs=1, remove=tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


def test_the_class_index_is_of_the_labels_that_are_left(tmp_path: Path) -> None:
    train, val = sound(tmp_path / "data")
    append(train, "gone.jpg,dog")
    check((train, val), jobs=1, remove=tmp_path / "clean", index=tmp_path / "classes.json")
    assert class_index.read(tmp_path / "classes.json").classes == ("007", "cat")


def test_paths_meant_from_another_folder_are_told_as_that(tmp_path: Path) -> None:
    train = written(tmp_path / "train.csv", "data/0.jpg,x", "data/1.jpg,x")
    notes = check((train,), jobs=1).sections["data_check"]["notes"]
    assert (
        notes[0]
        == f"not one image was found: paths are absolute, or relative to the folder of the manifest, {tmp_path}"
    )


def test_every_place_stands_in_the_details_and_the_report_can_be_read(tmp_path: Path) -> None:
    train, val = sound(tmp_path / "data")
    append(train, *(f"gone{i}.jpg,cat" for i in range(30)))
    report = check((train, val), jobs=1, out=tmp_path / "out")
    details = json.loads((tmp_path / "out/data-check.json").read_text())
    assert [p["line"] for p in details["problems"] if p["rule"] == "DAT001"] == list(range(6, 36))
    text = render.write(report, tmp_path / "out")["html"].read_text(encoding="utf-8")
    assert "Rows of each class" in text
    again = check((train, val), jobs=1, out=tmp_path / "out")
    assert again.verdict == report.verdict
    assert "6 images had not changed" in again.sections["data_check"]["notes"][-1]


def test_real_photos_are_passed_and_real_broken_files_are_told(tmp_path: Path, data_dir: Path) -> None:
    pytest.importorskip("simplejpeg", reason="decodes JPEGs strictly (extra data)")
    photos = sorted((data_dir / "bccd_voc").rglob("*.jpg"))
    bad = sorted(p for p in (data_dir / "bad/pillow").iterdir() if "trunc" in p.name or "broken" in p.name)
    assert len(photos) == 80
    assert bad
    train = written(tmp_path / "train.csv", *(f"{p},cells" for p in [*photos[:60], *bad]))
    val = written(tmp_path / "val.csv", *(f"{p},cells" for p in photos[60:]))
    check((train, val), deep=True, jobs=1, remove=tmp_path / "clean")
    assert [int(row) for _, row, _ in rejected(tmp_path / "clean")] == [62 + i for i in range(len(bad))]
