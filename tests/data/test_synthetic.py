"""The drawn set: the same bytes for the same seed, labels that fit what is drawn, nothing of the user's replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from deploytk.cli.demo_data import demo_data
from deploytk.data.synthetic import CLASSES, draw, make_dataset
from deploytk.errors import InputError
from deploytk.files import sha256_of


def labels(folder: Path, split: str) -> list[list[float]]:
    files = sorted((folder / "labels" / split).glob("*.txt"))
    return [[float(v) for v in line.split()] for file in files for line in file.read_text().splitlines()]


def test_same_seed_same_bytes_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_dataset(tmp_path / name, train=4, val=2, imgsz=96, seed=seed)
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")
    assert sha256_of(tmp_path / "a" / "images") != sha256_of(tmp_path / "c" / "images")


def test_layout_is_yolo_and_movable(tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "set", train=5, val=3, imgsz=96)
    told = yaml.safe_load(path.read_text())
    assert told["names"] == dict(enumerate(CLASSES))
    assert "path" not in told
    assert str(tmp_path) not in path.read_text()
    for split, count in (("train", 5), ("val", 3)):
        images = sorted((path.parent / told[split]).glob("*.jpg"))
        assert [i.stem for i in images] == [f"{split}_{n:05d}" for n in range(count)]
        assert all((path.parent / "labels" / split / f"{i.stem}.txt").is_file() for i in images)
        for image in images:
            with Image.open(image) as opened:
                assert opened.size == (96, 96)


def test_every_label_is_a_box_inside_the_image(tmp_path: Path) -> None:
    make_dataset(tmp_path, train=40, val=10, imgsz=96)
    rows = labels(tmp_path, "train")
    assert {int(row[0]) for row in rows} == set(range(len(CLASSES)))
    for _, x, y, width, height in rows:
        assert 0 < width <= 1
        assert 0 < height <= 1
        assert x - width / 2 >= -1e-6
        assert x + width / 2 <= 1 + 1e-6
        assert y - height / 2 >= -1e-6
        assert y + height / 2 <= 1 + 1e-6


def test_no_image_of_one_split_is_in_the_other() -> None:
    train = {draw("train", n, imgsz=64)[0].tobytes() for n in range(20)}
    val = {draw("val", n, imgsz=64)[0].tobytes() for n in range(20)}
    assert len(train) == len(val) == 20
    assert not train & val


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    make_dataset(tmp_path / "few", train=2, val=1, imgsz=64)
    make_dataset(tmp_path / "more", train=6, val=1, imgsz=64)
    for name in ("train_00000.jpg", "train_00001.jpg"):
        few, more = ((tmp_path / s / "images" / "train" / name).read_bytes() for s in ("few", "more"))
        assert few == more


def test_a_box_holds_what_was_drawn() -> None:
    """Around a shape the picture changes more than elsewhere: blank labels or swapped axes would not show that."""
    inside, outside = [], []
    for index in range(30):
        image, objects = draw("train", index, imgsz=96)
        grey = np.asarray(image.convert("L"), dtype=float)
        edges = np.hypot(*np.gradient(grey))
        mask = np.zeros_like(grey, dtype=bool)
        for _, (left, top, right, bottom) in objects:
            mask[int(top) : int(bottom), int(left) : int(right)] = True
        if mask.any() and not mask.all():
            inside.append(edges[mask].mean())
            outside.append(edges[~mask].mean())
    assert np.mean(inside) > 1.3 * np.mean(outside)


def test_a_set_that_stands_is_not_drawn_again(tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "set", train=2, val=1, imgsz=64)
    before = path.stat().st_mtime_ns
    make_dataset(tmp_path / "set", train=2, val=1, imgsz=64)
    assert path.stat().st_mtime_ns == before


def test_a_damaged_set_is_drawn_again(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set", train=2, val=1, imgsz=64)
    whole = sha256_of(tmp_path / "set")
    (tmp_path / "set" / "images" / "train" / "train_00000.jpg").unlink()
    make_dataset(tmp_path / "set", train=2, val=1, imgsz=64)
    assert sha256_of(tmp_path / "set") == whole


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not drawn by deploytk"):
        make_dataset(tmp_path, train=2, val=1, imgsz=64)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": 0}, {"imgsz": 8}, {"seed": -1}])
def test_numbers_out_of_range_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    values = {"train": 1, "val": 1, "imgsz": 64, "seed": 0, **wrong}
    with pytest.raises(InputError, match=next(iter(wrong))):
        make_dataset(tmp_path / "set", **values)
    assert not (tmp_path / "set").exists()


def test_the_command_draws_and_says_where(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "set"), "--train", "2", "--val", "1", "--imgsz", "64", "--json"]
    done = CliRunner().invoke(demo_data, arguments)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, told["verdict"], told["exit_code"]) == (0, "pass", 0)
    assert Path(told["sections"]["data"]["data"]).is_file()


def test_the_command_refuses_a_folder_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = CliRunner().invoke(demo_data, [str(tmp_path), "--train", "2", "--val", "1"])
    assert done.exit_code == 2
    assert "not drawn by deploytk" in done.stderr
