"""Sample images: letterboxed as Ultralytics does, chosen the same way for the same seed, every class among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploytk.data.dataset import Box, Dataset, Sample
from deploytk.errors import InputError

samples = pytest.importorskip("deploytk.data.samples", reason="OpenCV is not installed")


def of(labels: list[int], split: str = "train", image: Path = Path("none.jpg")) -> Dataset:
    rows = tuple(Sample(image.with_name(f"{i}.jpg"), (Box(c, 0.5, 0.5, 0.1, 0.1),)) for i, c in enumerate(labels))
    return Dataset(source=Path("data.yaml"), classes=("a", "b", "c"), splits={split: rows})


def test_a_wide_image_stands_in_the_middle_of_a_grey_square() -> None:
    square, placed = samples.letterbox(np.full((50, 100, 3), 200, np.uint8), 64)
    assert (placed.width, placed.height, placed.left, placed.top) == (64, 32, 0, 16)
    assert square.shape == (64, 64, 3)
    assert (square[:16] == 114).all() and (square[16:48] == 200).all() and (square[48:] == 114).all()


def test_the_short_side_is_rounded_up_and_an_odd_rest_goes_below() -> None:
    square, placed = samples.letterbox(np.full((49, 100, 3), 200, np.uint8), 64)
    assert (placed.height, placed.top) == (32, 16)  # 49 * 0.64 = 31.36
    square, placed = samples.letterbox(np.full((51, 100, 3), 200, np.uint8), 64)
    assert (placed.height, placed.top) == (33, 15)
    assert (square[48:] == 114).all() and (square[15] == 200).all()


def test_a_tensor_is_rgb_between_0_and_1(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (255, 51, 0)).save(tmp_path / "red.png")
    tensor, _ = samples.tensor(tmp_path / "red.png", 32)
    assert tensor.shape == (1, 3, 32, 32) and tensor.dtype == np.float32
    assert tensor[0, :, 16, 16] == pytest.approx([1.0, 0.2, 0.0])


def test_what_opencv_cannot_decode_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"x\.jpg"):
        samples.tensor(tmp_path / "x.jpg", 32)


def test_the_same_seed_chooses_the_same_images_and_another_seed_others() -> None:
    data = of([0] * 100)
    first = samples.choose(data, "train", 10, 1)
    assert first == samples.choose(data, "train", 10, 1)
    assert first != samples.choose(data, "train", 10, 2)
    assert len(set(first)) == 10


def test_a_rare_class_is_among_the_chosen() -> None:
    data = of([0] * 97 + [1, 2, 0])
    for seed in range(5):
        labels = {b.label for s in samples.choose(data, "train", 8, seed) for b in s.boxes}
        assert labels == {0, 1, 2}


def test_fewer_images_than_asked_are_all_used_but_eight_are_needed_for_training() -> None:
    assert len(samples.choose(of([0] * 9), "train", 64, 0)) == 9
    with pytest.raises(InputError, match="7 training images; at least 8"):
        samples.choose(of([0] * 7), "train", 64, 0)
    assert len(samples.choose(of([0] * 3, "val"), "val", 8, 0)) == 3
    with pytest.raises(InputError, match="no split 'test'"):
        samples.choose(of([0] * 9), "test", 8, 0)


def test_images_are_streamed_one_by_one(tmp_path: Path) -> None:
    for i in range(8):
        Image.new("RGB", (20, 20), (i, 0, 0)).save(tmp_path / f"{i}.jpg")
    stream = samples.stream(of([0] * 8, image=tmp_path / "0.jpg"), "train", 32, 8, 0)
    assert next(stream).shape == (1, 3, 32, 32)
    assert len(list(stream)) == 7
