"""A cleaned copy is read by the strict reader, holds nothing that was not there, and says what it left out and why."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from damaged_data import YAML, codes, jpeg, picture, yolo
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.data import dataset
from deploytk.data.checks import cleaning
from deploytk.data.checks.cleaning import Cleaned
from deploytk.data.checks.survey import Survey, survey
from deploytk.errors import InputError
from deploytk.files import sha256_of


def quiet(_event: dict[str, Any]) -> None:
    """Listen to nothing."""


def looked(path: Path, *, deep: bool = True) -> Survey:
    return survey(path, imgsz=640, deep=deep, jobs=1, listen=quiet)


def cleaned(path: Path, out: Path) -> Cleaned:
    return cleaning.clean(looked(path), out, quiet)


def rejected(out: Path) -> list[tuple[str, str, str]]:
    with (out / "rejected.csv").open(encoding="utf-8", newline="") as stream:
        return [(row["file"], row["line"], row["rule"]) for row in csv.DictReader(stream)]


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_nothing_is_left_out_of_a_sound_dataset(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    before = sha256_of(tmp_path / "data")
    done = cleaned(source, tmp_path / "out")
    assert (done.images, done.objects, done.rejected_images, done.rejected_lines) == ({"train": 3, "val": 2}, 10, 0, 0)
    assert rejected(tmp_path / "out") == []
    old, new = dataset.read(source), dataset.read(tmp_path / "out")
    assert [s.boxes for s in old.splits["train"]] == [s.boxes for s in new.splits["train"]]
    assert sha256_of(tmp_path / "data") == before


def damaged(root: Path) -> Path:
    """A dataset with a fault of nearly every kind."""
    source = yolo(root, train=8, val=3)
    images, labels = root / "images", root / "labels"
    (images / "train/0.jpg").write_bytes(jpeg(1)[:500])  # cut off
    (images / "train/1.jpg").write_bytes(b"<html>")
    (images / "train/2.jpg").write_bytes((images / "val/0.jpg").read_bytes())  # leaked
    (labels / "train/3.txt").write_text("0 0.5 0.5 0.4 0.4\n9 0.5 0.5 0.4 0.4\n0 0.5 0.5 0.4 0.4\n0 2 2 1 1\n")
    (labels / "train/4.txt").write_text("0 0.5 0.5 0.4\n")  # nothing left
    (labels / "train/5.txt").write_text("20 10 60 10 60 50 20 50 block 0\n")  # DOTA
    (labels / "train/6.txt").unlink()
    (labels / "train/lost.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (labels / "val/1.txt").write_bytes(b"\xff\xfe\x00")
    return source


def test_what_is_wrong_is_left_out_and_listed_with_its_rule(tmp_path: Path) -> None:
    done = cleaned(damaged(tmp_path / "data"), tmp_path / "out")
    assert rejected(tmp_path / "out") == [
        ("images/train/0.jpg", "", "DAT005"),
        ("images/train/1.jpg", "", "DAT003"),
        ("images/train/2.jpg", "", "DAT050"),
        ("images/train/4.jpg", "", "DAT021"),
        ("images/val/1.jpg", "", "DAT029"),
        ("labels/train/3.txt", "2", "DAT022"),
        ("labels/train/3.txt", "3", "DAT025"),
        ("labels/train/3.txt", "4", "DAT023"),
        ("labels/train/lost.txt", "", "DAT030"),
    ]
    assert files(tmp_path / "out") == [
        "data.yaml",
        *(f"images/train/{i}.jpg" for i in (3, 5, 6, 7)),
        *(f"images/val/{i}.jpg" for i in (0, 2)),
        *(f"labels/train/{i}.txt" for i in (3, 5, 7)),
        *(f"labels/val/{i}.txt" for i in (0, 2)),
        "rejected.csv",
    ]
    assert (done.images, done.rejected_images, done.rejected_lines) == ({"train": 4, "val": 2}, 5, 3)
    assert (tmp_path / "out/labels/train/5.txt").read_text().startswith("1 0.416666667 0.46875 ")


def test_the_cleaned_copy_has_no_error_left(tmp_path: Path) -> None:
    cleaned(damaged(tmp_path / "data"), tmp_path / "out")
    again = looked(tmp_path / "out")
    assert [p for p in again.problems if p.is_error] == []
    assert cleaning.clean(again, tmp_path / "twice", quiet).rejected_images == 0
    assert [f for f in files(tmp_path / "twice") if f != "rejected.csv"] == [
        f for f in files(tmp_path / "out") if f != "rejected.csv"
    ]


def test_nothing_of_the_users_is_touched(tmp_path: Path) -> None:
    source = damaged(tmp_path / "data")
    before = {p: (sha256_of(p), p.stat().st_mtime_ns) for p in (tmp_path / "data").rglob("*") if p.is_file()}
    cleaned(source, tmp_path / "out")
    after = {p: (sha256_of(p), p.stat().st_mtime_ns) for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert after == before


def test_a_cleaned_copy_can_be_moved_and_its_images_are_its_own(tmp_path: Path) -> None:
    cleaned(yolo(tmp_path / "data"), tmp_path / "out")
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert dataset.read(tmp_path / "moved").counts() == {"train": 3, "val": 2}


def test_of_a_leaked_image_the_copy_in_val_stays_also_under_two_names(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    shutil.copy(tmp_path / "data/images/val/0.jpg", tmp_path / "data/images/train/again.jpg")
    shutil.copy(tmp_path / "data/images/val/0.jpg", tmp_path / "data/images/val/again.jpg")
    done = cleaned(source, tmp_path / "out")
    assert done.images == {"train": 3, "val": 3}
    assert rejected(tmp_path / "out") == [("images/train/again.jpg", "", "DAT050")]


def test_of_two_copies_in_train_one_stays_but_where_their_labels_differ_a_person_decides(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    for name, label in (("same", "0 0.5 0.5 0.4 0.4\n1 0.2 0.2 0.3 0.3\n"), ("other", "1 0.5 0.5 0.4 0.4\n")):
        shutil.copy(tmp_path / "data/images/train/0.jpg", tmp_path / f"data/images/train/{name}.jpg")
        (tmp_path / f"data/labels/train/{name}.txt").write_text(label)
    cleaned(source, tmp_path / "out")
    assert rejected(tmp_path / "out") == [("images/train/same.jpg", "", "DAT053")]


def test_an_image_is_named_for_what_it_is_and_equal_stems_become_different(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    picture(70).save(tmp_path / "data/images/train/0.png", "PNG")  # shares the labels of 0.jpg
    picture(71).save(tmp_path / "x.png", "PNG")
    (tmp_path / "x.png").rename(tmp_path / "data/images/train/p.jpg")
    cleaned(source, tmp_path / "out")
    assert files(tmp_path / "out/images/train") == ["0.jpg", "0_2.png", "1.jpg", "2.jpg", "p.png"]
    assert (tmp_path / "out/labels/train/0_2.txt").read_text() == (tmp_path / "out/labels/train/0.txt").read_text()


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_what_is_there_already_is_not_written_over(tmp_path: Path, there: str) -> None:
    source, out = yolo(tmp_path / "data"), tmp_path / "out"
    {"folder": out.mkdir, "file": out.touch, "link": lambda: out.symlink_to("nowhere")}[there]()
    with pytest.raises(InputError, match="is there already"):
        cleaned(source, out)


def test_a_copy_among_the_images_themselves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies among the images"):
        cleaned(yolo(tmp_path / "data"), tmp_path / "data/images/train/clean")
    assert not (tmp_path / "data/images/train/clean").exists()


def test_a_dataset_that_validates_on_its_training_images_is_not_cleaned_to_nothing(tmp_path: Path) -> None:
    source = yolo(tmp_path / "data")
    source.write_text(YAML.replace("images/val", "images/train"))
    with pytest.raises(InputError, match="no image of train could be kept; nothing was written"):
        cleaned(source, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_voc_folder_becomes_a_yolo_dataset_of_the_same_boxes(data_dir: Path, tmp_path: Path) -> None:
    done = cleaning.clean(looked(data_dir / "bccd_voc", deep=False), tmp_path / "out", quiet)
    old, new = dataset.read(data_dir / "bccd_voc"), dataset.read(tmp_path / "out")
    assert (done.images, done.rejected_lines) == ({"train": 60, "val": 20}, 0)
    assert new.classes == old.classes
    boxes = [[s.boxes for s in found.splits["train"]] for found in (old, new)]
    assert [[b.label for b in each] for each in boxes[0]] == [[b.label for b in each] for each in boxes[1]]
    assert boxes[0][0][0].x == pytest.approx(boxes[1][0][0].x, abs=1e-8)


WORD = st.sampled_from(
    ["0", "1", "2", "0.5", "0.25", "0.26", "0.9", "1.00001", "1e-200", "1.2", "-0.1", "nan", "x", "block"]
)
LINE = st.one_of(
    st.lists(WORD, min_size=5, max_size=5).map(" ".join),
    st.lists(WORD, max_size=10).map(" ".join),
    st.just("0 0.5 0.5 0.4 0.4"),
    st.just("20 10 60 10 60 50 20 50 block 0"),
)
TEXT = st.one_of(st.none(), st.lists(LINE, max_size=4).map("\n".join))
PICTURE = st.sampled_from(["own", "own", "own", "shared", "cut", "html", "empty", "tiny"])


ROWS = st.lists(st.tuples(PICTURE, TEXT), min_size=1, max_size=4)


@given(train=ROWS, val=ROWS)
@settings(max_examples=40, deadline=None)
def test_a_cleaned_copy_is_read_strictly_and_never_holds_more_than_there_was(
    tmp_path_factory: pytest.TempPathFactory,
    train: list[tuple[str, str | None]],
    val: list[tuple[str, str | None]],
) -> None:
    root = tmp_path_factory.mktemp("any")
    for split, rows in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / "data" / kind / split).mkdir(parents=True)
        for i, (kind, text) in enumerate(rows):
            own = jpeg(i if split == "train" else 50 + i)
            data = {"shared": jpeg(99), "cut": own[:300], "html": b"<html>", "empty": b"", "tiny": jpeg(1, (5, 5))}
            (root / "data/images" / split / f"{i}.jpg").write_bytes(data.get(kind, own))
            if text is not None:
                (root / "data/labels" / split / f"{i}.txt").write_text(text)
    (root / "data/data.yaml").write_text(YAML)
    found = looked(root / "data", deep=False)
    try:
        done = cleaning.clean(found, root / "out", quiet)
    except InputError as error:
        assert "nothing was written" in error.message
        assert [p.name for p in root.iterdir()] == ["data"]
        return
    new = dataset.read(root / "out")
    assert new.counts() == done.images
    usable = sum(len(labels.lines) for labels in found.labels.values())
    assert sum(len(s.boxes) for of in new.splits.values() for s in of) <= usable
    old_images = {sha256_of(p) for p in (root / "data/images").rglob("*.jpg")}
    assert {sha256_of(s.image) for of in new.splits.values() for s in of} <= old_images
    assert not any(p.is_error for p in looked(root / "out", deep=False).problems if p.rule.code != "DAT060")
    shutil.rmtree(root)


def test_the_rule_codes_of_a_damaged_dataset_are_all_there(tmp_path: Path) -> None:
    found = codes(looked(damaged(tmp_path)).problems)
    assert sorted(set(found)) == [
        *("DAT003", "DAT005", "DAT021", "DAT022", "DAT023", "DAT025", "DAT028", "DAT029", "DAT030", "DAT031", "DAT042"),
        "DAT050",
    ]
