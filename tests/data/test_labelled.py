"""Images with their classes: of a detection dataset, or of a folder with one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import pytest
from calibration_fakes import folders, picture, yolo

from deploytk.data import labelled
from deploytk.errors import InputError


def test_a_detection_set_gives_the_classes_of_the_boxes(tmp_path: Path) -> None:
    pool = labelled.read(yolo(tmp_path, [0, 2, None]))
    assert (pool.task, pool.classes, pool.root) == ("detector", ("c0", "c1", "c2"), tmp_path)
    assert [set(each.classes) for each in pool.train] == [{0}, {2}, set()]
    assert {split: len(of) for split, of in pool.evaluation.items()} == {"val": 3}


def test_a_real_voc_folder_is_read(data_dir: Path) -> None:
    pool = labelled.read(data_dir / "bccd_voc")
    assert (pool.task, len(pool.train), len(pool.evaluation["val"])) == ("detector", 60, 20)
    assert pool.classes == ("Platelets", "RBC", "WBC")


@pytest.mark.parametrize("val", ["val/", "valid/", "validation/"])
def test_subfolders_of_train_are_classes(tmp_path: Path, val: str) -> None:
    pool = labelled.read(folders(tmp_path, val=val))
    assert (pool.task, pool.classes, len(pool.train)) == ("classifier", ("cat", "dog"), 12)
    assert {split: len(of) for split, of in pool.evaluation.items()} == {"val": 2}


def test_without_a_train_folder_the_subfolders_themselves_are_classes(tmp_path: Path) -> None:
    pool = labelled.read(folders(tmp_path, train="", val=""))
    assert (pool.classes, len(pool.train), pool.evaluation) == (("cat", "dog"), 12, {})


def test_a_val_folder_beside_the_classes_is_no_class(tmp_path: Path) -> None:
    pool = labelled.read(folders(tmp_path, train=""))
    assert (pool.classes, len(pool.evaluation["val"])) == (("cat", "dog"), 2)


def test_a_yolo_folder_without_its_yaml_is_not_taken_for_two_classes(tmp_path: Path) -> None:
    picture(tmp_path / "train/images/a.png", 10, 0)
    (tmp_path / "train/labels").mkdir()
    with pytest.raises(InputError, match=r"labels: no images; .* give its data\.yaml"):
        labelled.read(tmp_path)


def test_a_folder_without_anything_says_what_is_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a YOLO data\.yaml, a Pascal-VOC folder, or a folder with one subfolder"):
        labelled.read(tmp_path)
    with pytest.raises(InputError, match="no such dataset"):
        labelled.read(tmp_path / "nowhere")
