"""Images as a detector gets them: letterboxed to a square, RGB, float32 0..1 (OpenCV).

The resize is the one of Ultralytics' validation: the long side becomes the input size, the short side is rounded up,
bilinear, centred on grey 114.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deploytk.data import preparation
from deploytk.data.choice import LEAST_TRAIN, drawn
from deploytk.data.dataset import Dataset, Sample
from deploytk.data.preparation import Placed as Placed
from deploytk.errors import InputError


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, Placed]:
    """The image (height, width, channels) on a grey square of `size` pixels, and where it stands there."""
    return preparation.letterbox(image, (size, size))


def tensor(path: Path, size: int) -> tuple[np.ndarray, Placed]:
    """The image file as (1, 3, size, size) float32 0..1 RGB, and where it stands in the square.

    Raises:
        InputError: OpenCV cannot decode it.
    """
    try:
        decoded = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: cannot be read as an image") from error
    if decoded is None:
        raise InputError(f"{path}: OpenCV cannot decode this image; repair or remove it")
    square, placed = letterbox(decoded, size)
    rgb = np.ascontiguousarray(square[:, :, ::-1].transpose(2, 0, 1)[None])
    return rgb.astype(np.float32) / np.float32(255.0), placed


def stream(data: Dataset, split: str, size: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """`count` chosen images of a split, one at a time, as `tensor` gives them.

    Raises:
        InputError: the split is not there or too small.
    """
    for sample in choose(data, split, count, seed):
        yield tensor(sample.image, size)[0]


def choose(data: Dataset, split: str, count: int, seed: int) -> list[Sample]:
    """`count` samples of a split (all where it has fewer), the same for the same seed, each class at least once
    while the count allows; the rarest classes first.

    Raises:
        InputError: the split is not there, or fewer than 8 training images are asked for or there.
    """
    samples = data.splits.get(split, ())
    if not samples:
        raise InputError(f"{data.source}: there is no split {split!r} to take samples from")
    if split == "train" and len(samples) < LEAST_TRAIN:
        raise InputError(
            f"{data.source}: {len(samples)} training images; at least {LEAST_TRAIN} are needed to find INT8 ranges"
        )
    return [samples[i] for i in drawn([{b.label for b in s.boxes} for s in samples], count, seed)]
