"""Pictures that are parts of images, as files of their own: what a calibration set is drawn from (OpenCV)."""

from __future__ import annotations

from pathlib import Path

import cv2

from deploytk.backends.classifier.checks import dataset
from deploytk.data import choice
from deploytk.data.classified import Picture, Pictures
from deploytk.data.labelled import Labelled, Pool
from deploytk.errors import InputError
from deploytk.files import written_whole
from deploytk.profile import Profile

#: So many times the samples that are asked for are cut out, for the set to choose from.
_CHOICE = 4


def calibration_pool(profile: Profile, run: Path) -> Pool | None:
    """Training pictures as PNG files in RUN/calibration/pictures; None where the dataset's pictures are whole files.

    Raises:
        InputError: the profile names no dataset, something is wrong with it, or an image cannot be read.
    """
    data, wanted = dataset(profile), profile.calibration
    if data.crops is None:
        return None
    train, folder = data.splits["train"], run / "calibration" / "pictures"
    numbers = choice.drawn([(int(label),) for label in train.labels], _CHOICE * wanted.samples, wanted.seed)
    with written_whole(folder) as partial:
        partial.mkdir()
        names = [_written(train, number, partial) for number in numbers]
    return Pool(
        source=folder,
        task="classifier",
        classes=data.classes,
        train=tuple(
            Labelled(folder / name, frozenset({train[number].label}))
            for name, number in zip(names, numbers, strict=True)
        ),
        evaluation={split: tuple(map(Path, of.paths())) for split, of in data.splits.items() if split != "train"},
    )


def _written(pictures: Pictures, number: int, folder: Path) -> str:
    picture: Picture = pictures[number]
    name = f"{number:07d}.png"  # lossless: what the network is shown is what it was trained on
    done, coded = cv2.imencode(".png", picture.pixels())
    if not done:
        raise InputError(f"{picture.image}: a part of it cannot be written as PNG")
    (folder / name).write_bytes(coded.tobytes())
    return name
