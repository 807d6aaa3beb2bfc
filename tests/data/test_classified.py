"""Pictures to classify from manifests and from a detector's boxes: labels, one class index, crops, fingerprints."""

from __future__ import annotations

from pathlib import Path

import manifest_files
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("polars", reason="polars is not installed")

from deploytk.data import class_index, classified, labelled
from deploytk.data.class_index import ClassIndex
from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError

_BOX = "path,label,split,x1,y1,x2,y2"


def _photo(path: Path) -> Path:
    """64 x 48, black, with a white spot of 16 x 8 pixels at (20, 30)."""
    image = Image.new("RGB", (64, 48))
    image.paste((255, 255, 255), (20, 30, 36, 38))
    image.save(path)
    return path


def test_a_folder_of_two_manifests_and_one_with_a_column_split_are_the_same(tmp_path: Path) -> None:
    train, val = manifest_files.sound(tmp_path)
    rows = [f"{line},{file.stem}" for file in (train, val) for line in file.read_text().splitlines()[1:]]
    one = manifest_files.written(tmp_path / "all.csv", *rows, header="path,label,split")
    (tmp_path / "rejected.csv").write_text("file,row\n")
    folder, file = classified.read(tmp_path), classified.read(one)
    assert folder.classes == file.classes == ("007", "cat")
    assert folder.fingerprint() == file.fingerprint()
    assert [p.image.name for p in file.splits["train"]] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert file.splits["val"].labels.tolist() == [0, 1] and file.files == (one,)


def test_a_manifest_gives_the_images_that_calibration_samples_are_drawn_from(tmp_path: Path) -> None:
    manifest_files.sound(tmp_path)
    pool = labelled.read(tmp_path)
    assert (pool.task, pool.classes, len(pool.train)) == ("classifier", ("007", "cat"), 4)
    assert [image.name for image in pool.evaluation["val"]] == ["4.jpg", "5.jpg"]
    rows = ("0.jpg,a,train,1,1,9,9", "1.jpg,a,val,1,1,9,9")
    with pytest.raises(InputError, match="its pictures are boxes"):
        labelled.read(manifest_files.written(tmp_path / "boxes.csv", *rows, header=_BOX))


def test_a_label_that_is_no_class_is_told_with_its_row(tmp_path: Path) -> None:
    _, val = manifest_files.sound(tmp_path)
    manifest_files.append(val, "0.jpg,dog")
    with pytest.raises(InputError, match=r"val\.csv:4: the label 'dog' is in no row of train$"):
        classified.read(tmp_path)
    with pytest.raises(InputError, match=r"train\.csv:2: the label '007' is not among the 2 of data.class_index"):
        classified.read(tmp_path, index=ClassIndex(classes=("cat", "dog")))


def test_a_class_index_decides_the_ids_and_may_have_more_classes(tmp_path: Path) -> None:
    manifest_files.sound(tmp_path)
    class_index.write(tmp_path / "classes.json", ClassIndex(classes=("zebra", "cat", "007")))
    found = classified.read(tmp_path, index=class_index.read(tmp_path / "classes.json"))
    assert found.splits["train"].labels.tolist() == [2, 1, 2, 1]
    assert found.missing("train") == ["zebra"]
    assert found.fingerprint() != classified.read(tmp_path).fingerprint()


def test_boxes_of_a_detector_and_of_a_manifest_give_the_same_pixels(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "images" / split).mkdir(parents=True)
        _photo(tmp_path / "images" / split / "a.png")
        _photo(tmp_path / "images" / split / "background.png")
        (tmp_path / "labels" / split / "a.txt").write_text(f"1 {28 / 64} {34 / 48} {16 / 64} {8 / 48}\n")
    data = tmp_path / "data.yaml"
    data.write_text("train: images/train\nval: images/val\nnames: [frog, ant]\n")
    rows = [f"images/{split}/a.png,ant,{split},20,30,36,38" for split in ("train", "val")]
    csv = manifest_files.written(tmp_path / "boxes.csv", *rows, header=_BOX)
    tight = Crops(margin=0.0, square=False)
    for path, classes in ((data, ("frog", "ant")), (csv, ("ant",))):
        found = classified.read(path, crops=tight)
        assert found.classes == classes and found.counts() == {"train": 1, "val": 1}
        (picture,) = found.splits["train"]
        assert picture.pixels().shape == (8, 16, 3) and picture.pixels().min() == 255
        around = classified.read(path).splits["train"][0]
        assert around.pixels().shape == (20, 20, 3)
        how = Preparation(kind="resize", size=(8, 8))
        assert np.array_equal(picture.prepared(how), np.ones((1, 3, 8, 8), np.float32))
    assert classified.read(csv).fingerprint() != classified.read(csv, crops=tight).fingerprint()


def test_of_many_images_names_and_sizes_are_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest_files.sound(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    before = classified.read(tmp_path / "b").fingerprint()
    monkeypatch.setattr(classified, "HASHED", 2)
    many = classified.read(tmp_path / "b").fingerprint()
    (tmp_path / "b").rename(tmp_path / "c")
    assert many == classified.read(tmp_path / "c").fingerprint() != before
    with (tmp_path / "c" / "0.jpg").open("ab") as stream:
        stream.write(b"\0")
    assert classified.read(tmp_path / "c").fingerprint() != many
    (tmp_path / "c" / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"0\.jpg: cannot be read"):
        classified.read(tmp_path / "c").fingerprint()


def test_names_that_are_no_ascii_stay_what_they_are(tmp_path: Path) -> None:
    for name in ("고양이.png", "é.png"):
        _photo(tmp_path / name)
    rows = ("고양이.png,고양이,train", "é.png,고양이,val")
    found = classified.read(manifest_files.written(tmp_path / "m.csv", *rows, header="path,label,split"))
    assert [p.image.name for split in found.splits.values() for p in split] == ["고양이.png", "é.png"]
