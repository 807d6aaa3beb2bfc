"""What a dataset names is listed to its end: a split that is not there hides nothing of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_data import YAML, codes, yolo

from deploytk.data.checks import listing
from deploytk.errors import InputError


def told(path: Path) -> list[tuple[str, str, int, str]]:
    return [(p.rule.code, p.file.name, p.line, p.said) for p in listing.read(path).problems]


def test_a_sound_dataset_is_listed_without_a_word(tmp_path: Path) -> None:
    found = listing.read(yolo(tmp_path))
    assert {split: len(images) for split, images in found.splits.items()} == {"train": 3, "val": 2}
    assert found.classes == ("ring", "block")
    assert found.problems == ()


def test_a_split_that_is_not_there_is_one_problem_and_the_other_is_listed(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text(YAML.replace("images/train", "images/trian") + "test: images/test\n")
    assert told(path) == [
        ("DAT011", "data.yaml", 0, "train: images/trian is not there"),
        ("DAT011", "data.yaml", 0, "test: images/test is not there"),
    ]
    assert list(listing.read(path).splits) == ["val"]


def test_a_data_yaml_without_a_train_is_said(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text("val: images/val\nnames: [ring, block]\n")
    assert told(path) == [("DAT011", "data.yaml", 0, "names no images for train")]


def test_a_folder_without_an_image_is_said(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    (tmp_path / "empty").mkdir()
    path.write_text(YAML.replace("images/train", "empty"))
    assert told(path) == [("DAT011", "data.yaml", 0, "train: no image in empty")]


def test_each_missing_image_of_a_list_is_named_with_its_line(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text(YAML.replace("images/val", "val.txt"))
    (tmp_path / "val.txt").write_text("images/val/0.jpg\n\nimages/val/8.jpg\n./images/val/9.jpg\n")
    assert told(path) == [
        ("DAT001", "val.txt", 3, "images/val/8.jpg is not there"),
        ("DAT001", "val.txt", 4, "./images/val/9.jpg is not there"),
    ]


def test_a_wrong_path_key_that_does_no_harm_is_not_told(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text("path: ./elsewhere\n" + YAML)
    assert told(path) == []


def test_no_image_at_all_is_no_dataset(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text("train: a\nval: b\nnames: [ring]\n")
    with pytest.raises(InputError) as raised:
        listing.read(path)
    assert [reason.rpartition(": ")[2] for reason in raised.value.reasons] == ["a is not there", "b is not there"]


def test_label_files_without_an_image_are_named_and_other_text_is_left_in_peace(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    for name in ("lost.txt", "classes.txt", "README.txt", "._0.txt"):
        (tmp_path / "labels" / "train" / name).write_text("0 0.5 0.5 0.1 0.1\n")
    assert told(path) == [("DAT030", "lost.txt", 0, "no image of that name")]


def test_labels_of_images_that_no_split_names_are_not_lost(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    path.write_text(YAML.replace("images/train", "train.txt"))
    (tmp_path / "train.txt").write_text("images/train/0.jpg\n")
    assert told(path) == []


def test_what_macos_leaves_is_named_and_not_read(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    (tmp_path / "images" / "train" / "._0.jpg").write_bytes(b"\x00\x05\x16\x07")
    assert codes(listing.read(path).problems) == ["DAT012"]
    assert len(listing.read(path).splits["train"]) == 3


def test_photos_in_a_format_that_nobody_reads_are_named(tmp_path: Path) -> None:
    path = yolo(tmp_path)
    (tmp_path / "images" / "val" / "IMG_0001.HEIC").write_bytes(b"\x00\x00\x00\x18ftypheic")
    assert told(path) == [("DAT014", "IMG_0001.HEIC", 0, ".HEIC is not read")]


def voc(root: Path, train: str, val: str) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b"):
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(b"x")
        (root / "Annotations" / f"{name}.xml").write_text("<annotation/>")
    (root / "ImageSets/Main/train.txt").write_text(train)
    (root / "ImageSets/Main/val.txt").write_text(val)
    return root


def test_a_voc_list_is_read_on_after_names_that_are_not_there(tmp_path: Path) -> None:
    root = voc(tmp_path, "a\nz 1\n../b\n", "b\n")
    (root / "Annotations" / "lost.xml").write_text("<annotation/>")
    assert told(root) == [
        ("DAT001", "train.txt", 3, "'../b' is a path; only names of images are allowed here"),
        ("DAT013", "train.txt", 2, "z is not there"),
        ("DAT030", "lost.xml", 0, "no image of that name"),
    ]
    assert {split: len(images) for split, images in listing.read(root).splits.items()} == {"train": 1, "val": 1}


def test_a_voc_folder_without_a_list_for_val_says_so(tmp_path: Path) -> None:
    root = voc(tmp_path, "a\n", "b\n")
    (root / "ImageSets/Main/val.txt").unlink()
    assert codes(listing.read(root).problems) == ["DAT011"]
