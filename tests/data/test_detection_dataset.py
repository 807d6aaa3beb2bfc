"""Reading YOLO and Pascal-VOC datasets: what is understood, and the one clear error for what is wrong."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from deploytk.data import dataset, images, view
from deploytk.data.yolo import label_path
from deploytk.errors import InputError

YAML = "train: images/train\nval: images/val\nnames: [ring, block]\n"


def make(root: Path, *, yaml: str = YAML, label: str = "0 0.5 0.5 0.2 0.2\n", train: int = 3, val: int = 2) -> Path:
    """A small YOLO dataset; the data.yaml's path."""
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (40, 30), (10 * i, 50, 90)).save(root / "images" / split / f"{i}.jpg")
            (root / "labels" / split / f"{i}.txt").write_text(label)
    (root / "data.yaml").write_text(yaml)
    return root / "data.yaml"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        dataset.read(path)
    assert raised.value.exit_code == 2
    return raised.value.message


def test_a_yolo_dataset_is_read_with_its_boxes(tmp_path: Path) -> None:
    found = dataset.read(make(tmp_path))
    assert found.classes == ("ring", "block")
    assert found.counts() == {"train": 3, "val": 2}
    assert found.splits["train"][0].boxes == (dataset.Box(0, 0.5, 0.5, 0.2, 0.2),)


@pytest.mark.parametrize("names", ["[ring, null]", "[[ring], block]", "{0: ring, 1: {a: b}}"])
def test_a_class_name_is_text(tmp_path: Path, names: str) -> None:
    assert "is no name of a class" in refusal(make(tmp_path, yaml=YAML.replace("[ring, block]", names)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refusal(tmp_path / "pipe")


def test_the_folder_of_a_data_yaml_will_do_and_names_may_be_a_dict(tmp_path: Path) -> None:
    make(tmp_path, yaml=YAML.replace("[ring, block]", "{0: ring, 1: block}"))
    assert dataset.read(tmp_path).classes == ("ring", "block")


def test_a_list_file_and_a_list_of_folders_name_images(tmp_path: Path) -> None:
    make(tmp_path, yaml="train: [images/train, images/val]\nval: val.txt\nnames: [ring, block]\n")
    (tmp_path / "val.txt").write_text("./images/val/1.jpg\n\n")
    found = dataset.read(tmp_path)
    assert found.counts() == {"train": 5, "val": 1}
    assert found.splits["val"][0].boxes
    assert any("1 of 1 images are in train too" in f.message for f in found.findings if f.rule == "DATA006")


def test_a_list_file_naming_a_missing_image_is_refused_with_its_line(tmp_path: Path) -> None:
    path = make(tmp_path, yaml=YAML.replace("val: images/val", "val: val.txt"))
    (tmp_path / "val.txt").write_text("images/val/1.jpg\nimages/val/9.jpg\n")
    assert "val.txt:2: images/val/9.jpg is not there" in refusal(path)


def test_a_path_that_is_not_there_gives_way_to_the_yamls_folder_and_says_so(tmp_path: Path) -> None:
    path = make(tmp_path, yaml="path: ./pushin-pill-1\n" + YAML)
    found = dataset.read(path)
    assert found.counts()["train"] == 3
    assert [f.rule for f in found.findings if "pushin-pill-1 is not there" in f.message] == ["DATA001"]


def test_roboflows_parent_folder_is_understood(tmp_path: Path) -> None:
    path = make(tmp_path, yaml="train: ../images/train\nval: ../images/val\nnames: [ring, block]\n")
    assert dataset.read(path).counts() == {"train": 3, "val": 2}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7 0.5 0.5 0.1 0.1", "class 7 is out of range"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is out of range"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5 is out of range"),
        ("0 1.2 0.5 0.1 0.1", "outside 0..1"),
        ("0 0.5 -0.5 0.1 0.1", "outside 0..1"),
        ("0 nan 0.5 0.1 0.1", "outside 0..1"),
        ("0 0.5 0.5 0.1 x", "not a number"),
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("0 0.5 0.5 0.1 0", "no area"),
    ],
)
def test_a_wrong_label_line_is_named_by_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = make(tmp_path)
    (tmp_path / "labels" / "train" / "1.txt").write_text(f"0 0.5 0.5 0.2 0.2\n\n{line}\n")
    message = refusal(path)
    assert said in message
    assert message.startswith(f"{tmp_path / 'labels' / 'train' / '1.txt'}:3: ")


def test_a_polygon_becomes_the_box_around_it(tmp_path: Path) -> None:
    found = dataset.read(make(tmp_path, label="1 0.1 0.2 0.5 0.2 0.3 0.6\n"))
    box = found.splits["train"][0].boxes[0]
    assert (box.label, box.x, box.y, box.w, box.h) == pytest.approx((1, 0.3, 0.4, 0.4, 0.4))


def test_repeated_lines_and_bare_images_are_warnings_and_each_box_counts_once(tmp_path: Path) -> None:
    path = make(tmp_path, label="0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "labels" / "train" / "2.txt").unlink()
    found = dataset.read(path)
    assert len(found.splits["train"][0].boxes) == 2
    assert {f.rule for f in found.findings} == {"DATA002", "DATA004"}
    assert all(f.severity == "warning" for f in found.findings)
    assert any("1 of 3 images have no object (first: 2.jpg)" in f.message for f in found.findings)


def test_a_class_without_a_training_object_is_a_warning(tmp_path: Path) -> None:
    found = dataset.read(make(tmp_path))
    assert [f.message for f in found.findings if f.rule == "DATA003"] == ["no object of block"]


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("names: [a]\nval: images/val\n", "no 'train'"),
        ("train: nowhere\nval: images/val\nnames: [ring, block]\n", "train: nowhere is not there"),
        ("train: images/train\nval: images/val\n", "names"),
        ("train: images/train\nval: images/val\nnc: 3\nnames: [ring, block]\n", "nc is 3 but there are 2 names"),
        ("train: images/train\nval: images/val\nnames: {1: a, 2: b}\n", "keys must be 0 to 1"),
        ("train: images/train\nval: images/val\nnames: [a, a]\n", "more than once"),
        ("just text", "not a data.yaml"),
        ("train: [\n", "not YAML"),
    ],
)
def test_a_wrong_data_yaml_is_one_clear_error(tmp_path: Path, yaml: str, said: str) -> None:
    path = make(tmp_path, yaml=yaml)
    message = refusal(path)
    assert said in message
    assert str(path) in message


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    assert "no images in images/val" in refusal(make(tmp_path, val=0))


def test_a_dataset_without_one_object_is_refused(tmp_path: Path) -> None:
    assert "not one labelled object" in refusal(make(tmp_path, label=""))


def test_a_missing_dataset_is_refused(tmp_path: Path) -> None:
    assert "no such dataset" in refusal(tmp_path / "gone.yaml")


def test_labels_are_found_by_the_last_images_folder() -> None:
    assert label_path(Path("/a/images/b/images/c/x.y.jpg")) == Path("/a/images/b/labels/c/x.y.txt")


def test_unreadable_images_are_named(tmp_path: Path, data_dir: Path) -> None:
    bad = data_dir / "bad" / "pillow"
    for name in ("truncated_jpeg.jpg", "truncated_image.png", "broken.png", "broken_data_stream.png"):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            images.check([bad / name])
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(bomb)
    with pytest.raises(InputError, match="bomb"):
        images.check([bomb])
    images.check([bad / "pil_sample_cmyk.jpg", bad / "hopper_gray.jpg", bad / "hopper_orientation_6.jpg"])


def test_real_voc_annotations_are_read(data_dir: Path) -> None:
    found = dataset.read(data_dir / "bccd_voc")
    assert found.classes == ("Platelets", "RBC", "WBC")
    assert found.counts() == {"train": 60, "val": 20}
    first = found.splits["train"][0]
    assert first.image.name == "BloodImage_00001.jpg"
    assert all(0 <= v <= 1 for b in first.boxes for v in (b.x, b.y, b.w, b.h))
    assert [f.rule for f in found.findings] == ["DATA005", "DATA005"]


def voc(root: Path, *, name: str = "ring", box: tuple[int, int, int, int] = (1, 1, 20, 30)) -> Path:
    """A VOC folder with one training and one validation image."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    for split in ("train", "val"):
        Image.new("RGB", (40, 30)).save(root / "JPEGImages" / f"{split}.jpg")
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{split}\n")
        (root / "Annotations" / f"{split}.xml").write_text(
            f"<annotation>\n<size><width>40</width><height>30</height></size>\n"
            f"<object><name>{name}</name>\n<bndbox>{sides}</bndbox></object>\n</annotation>"
        )
    return root


def test_voc_boxes_become_fractions(tmp_path: Path) -> None:
    box = dataset.read(voc(tmp_path, box=(0, 0, 20, 30))).splits["train"][0].boxes[0]
    assert (box.x, box.y, box.w, box.h) == pytest.approx((0.25, 0.5, 0.5, 1.0))


@pytest.mark.parametrize(("box", "said"), [((0, 0, 60, 30), "outside the image (40x30)"), ((9, 9, 9, 20), "no area")])
def test_a_wrong_voc_box_is_named_by_file_and_line(tmp_path: Path, box: tuple[int, int, int, int], said: str) -> None:
    message = refusal(voc(tmp_path, box=box))
    assert said in message
    assert "train.xml:3: ring" in message


def test_a_voc_class_that_classes_txt_does_not_name_is_refused(tmp_path: Path) -> None:
    voc(tmp_path, name="rnig")
    (tmp_path / "classes.txt").write_text("ring\nblock\n")
    assert "train.xml:3: unknown class 'rnig'" in refusal(tmp_path)


def test_a_voc_list_cannot_reach_outside_the_folder(tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("../../secret\n")
    assert "only names of images" in refusal(tmp_path)


def test_a_view_is_a_copy_and_leaves_the_users_files_alone(tmp_path: Path) -> None:
    source = dataset.read(make(tmp_path / "user"))
    before = hashes(tmp_path / "user")
    made = view.materialise(source, tmp_path / "run")
    again = dataset.read(made.yaml)
    assert [s.boxes for s in again.splits["train"]] == [s.boxes for s in source.splits["train"]]
    for sample in made.data.splits["train"]:
        assert sample.image.stat().st_nlink == 1 and not sample.image.is_symlink()
        sample.image.write_bytes(b"rewritten by a library")
    assert hashes(tmp_path / "user") == before


def test_an_unchanged_view_is_used_again_and_a_changed_label_makes_another(tmp_path: Path) -> None:
    path = make(tmp_path / "user")
    first = view.of(path, tmp_path / "run")
    marker = first.folder / "labels" / "train.cache"
    marker.touch()
    assert view.of(path, tmp_path / "run").folder == first.folder
    assert marker.exists()
    (tmp_path / "user" / "labels" / "train" / "0.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    assert view.of(path, tmp_path / "run").folder != first.folder


def test_a_moved_run_folder_gets_its_path_back(tmp_path: Path) -> None:
    path = make(tmp_path / "user")
    view.of(path, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    made = view.of(path, tmp_path / "moved")
    assert f"path: {made.folder}\n" in made.yaml.read_text()


def hashes(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }
