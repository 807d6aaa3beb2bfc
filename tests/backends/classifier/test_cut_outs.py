"""What a classifier on boxes is calibrated with: the pictures it is trained on, not the images around them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deploytk.backends import classifier
from deploytk.backends.classifier.checks import dataset
from deploytk.data.synthetic import make_dataset
from deploytk.profile import Profile


def profile(path: Path, **calibration: int) -> Profile:
    told = {"name": "p", "backend": "classifier", "data": {"path": path}, "calibration": calibration}
    return Profile.model_validate(told)


def test_boxes_are_cut_out_as_files_every_class_among_them_and_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    make_dataset(tmp_path / "data", train=12, val=4, imgsz=64)
    wanted = profile(tmp_path / "data" / "data.yaml", samples=8)
    pool = classifier.calibration_pool(wanted, tmp_path / "run")
    assert (pool.task, pool.root) == ("classifier", tmp_path / "run" / "calibration" / "pictures")
    assert {number for each in pool.train for number in each.classes} == set(range(len(pool.classes)))
    train = dataset(wanted).splits["train"]
    for each in pool.train[:5]:
        picture = train[int(each.image.stem)]
        assert np.array_equal(cv2.imread(str(each.image)), picture.pixels())
        assert each.classes == {picture.label}
    assert len(pool.evaluation["val"]) == 4
    assert classifier.calibration_pool(wanted, tmp_path / "run") == pool


def test_whole_files_are_not_cut(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / split / "a" / "0.png"), np.zeros((8, 8, 3), np.uint8))
    assert classifier.calibration_pool(profile(tmp_path), tmp_path / "run") is None
