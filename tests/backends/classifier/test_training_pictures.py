"""The pictures that a classifier is trained on: drawn by their key, decoded no larger than needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch is not installed")

from deploytk.backends.classifier import pictures
from deploytk.data.classified import AROUND, Cut, Picture
from deploytk.data.crops import Crops
from deploytk.errors import InputError
from deploytk.profile_training import Train


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smooth picture of 640 x 480, told to be shown turned by 90 degrees."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    noise = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=92, exif=exif)
    return path


def test_decoded_smaller_it_is_nearly_the_picture_that_is_cut_out_of_the_whole(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = Cut((200.0, 20.0, 480.0, 640.0), False, Crops())
    for picture in (Picture(photo, 0), Picture(photo, 0, turned)):
        varied = pictures.Varied([picture], 64, Train(fliplr=0.5))
        small = [varied[(epoch, 0)][0].numpy().astype(int) for epoch in range(6)]
        with monkeypatch.context() as whole:
            whole.setattr(pictures, "_decode_smaller", lambda *_: None)
            full = [varied[(epoch, 0)][0].numpy().astype(int) for epoch in range(6)]
        assert max(np.abs(a - b).mean() for a, b in zip(small, full, strict=True)) < 1.5
        assert np.abs(small[0] - small[1]).mean() > 5


def test_what_is_drawn_depends_on_the_key_alone(photo: Path) -> None:
    one, other = (pictures.Varied([Picture(photo, 0)], 32, Train()) for _ in range(2))
    other[(7, 0)]
    assert np.array_equal(one[(1, 0)][0], other[(1, 0)][0])
    assert not np.array_equal(one[(1, 0)][0], one[(1, 0, 1)][0])


def test_bytes_become_the_input_that_inference_has(photo: Path) -> None:
    picture = Picture(photo, 0, Cut((0.2, 0.2, 0.5, 0.5), True, AROUND))
    how = pictures.preparation(64)
    plain = how.model_copy(update={"mean": (), "std": (), "divide_by": 1.0})
    pixels = pictures.torch.from_numpy(picture.prepared(plain)).byte()
    assert np.allclose(pictures.normalised(pixels).numpy(), picture.prepared(how), atol=1e-5)


def test_an_image_that_breaks_names_itself(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(photo.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"cut\.jpg: not a readable image"):
        pictures.Varied([Picture(tmp_path / "cut.jpg", 0)], 32, Train())[(1, 0)]
