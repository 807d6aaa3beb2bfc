"""Images as a classifier takes them: prepared as at inference, or varied for training (torch, Pillow)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from deploytk.data.classified import Picture
from deploytk.data.images import FAULTS, FORMATS, why
from deploytk.data.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from deploytk.errors import InputError
from deploytk.profile_training import Train
from deploytk.training.loop.batches import Key

Batch = tuple[torch.Tensor, torch.Tensor]

#: The part of a picture's area that a training crop has at least. ImageNet's usual 0.08 cuts most of an object away.
_AREA = 0.35
#: Its width to its height, as torchvision's RandomResizedCrop has it.
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10
_ORIENTATION, _SIDEWAYS = 0x0112, frozenset({5, 6, 7, 8})


def preparation(imgsz: int) -> Preparation:
    """How an image becomes an input at validation and inference: the usual centre crop of classifiers."""
    return Preparation(kind="center-crop", size=(imgsz, imgsz), mean=IMAGENET_MEAN, std=IMAGENET_STD)


class Varied(Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc, unused-ignore]
    """Training images: a random crop, mirrored now and then. What is drawn depends on seed, epoch and image alone."""

    def __init__(self, pictures: Sequence[Picture], imgsz: int, train: Train) -> None:
        self.pictures, self.imgsz, self.seed, self.fliplr = pictures, imgsz, train.seed, train.fliplr

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """((3, imgsz, imgsz) uint8 RGB, its class).

        Raises:
            InputError: the image cannot be read.
        """
        picture, chance = self.pictures[key[1]], np.random.default_rng([self.seed, *key])
        try:
            pixels = _varied(picture, self.imgsz, chance)
        except FAULTS as error:
            raise InputError(f"{picture.image}: not a readable image ({why(error)}); repair or remove it") from error
        if chance.random() < self.fliplr:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), picture.label


class Prepared(Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc, unused-ignore]
    """Images as at inference, by their numbers."""

    def __init__(self, pictures: Sequence[Picture], imgsz: int) -> None:
        self.pictures, self.preparation = pictures, preparation(imgsz)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """(3, imgsz, imgsz) float32 and its class."""
        picture = self.pictures[index]
        return torch.from_numpy(picture.prepared(self.preparation)[0]), picture.label


def collate(items: Sequence[tuple[torch.Tensor, int]]) -> Batch:
    """((N, 3, imgsz, imgsz) as the items have it, (N,) int64)."""
    return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, S, S) uint8 as the float32 input that `preparation` makes; on the device, so that bytes travel there."""
    mean, std = (torch.tensor(of, device=images.device).view(3, 1, 1) for of in (IMAGENET_MEAN, IMAGENET_STD))
    return (images.float() / 255 - mean) / std


def _varied(picture: Picture, imgsz: int, chance: np.random.Generator) -> NDArray[np.uint8]:
    """A random part of a picture at the input's size: (imgsz, imgsz, 3) uint8 RGB."""
    with Image.open(picture.image, formats=FORMATS) as opened:
        width, height = _shown(opened)
        left, top, right, bottom = picture.cut.place(height, width) if picture.cut else (0, 0, width, height)
        x, y, w, h = _drawn(right - left, bottom - top, chance)
        _decode_smaller(opened, min(w, h) // imgsz)
        image = ImageOps.exif_transpose(opened)
        image = image if image.mode == "RGB" else image.convert("RGB")
    across, down = image.width / width, image.height / height
    part = ((left + x) * across, (top + y) * down, (left + x + w) * across, (top + y + h) * down)
    return np.asarray(image.resize((imgsz, imgsz), Image.Resampling.BILINEAR, box=part))


def _shown(opened: Image.Image) -> tuple[int, int]:
    """Width and height as the picture is shown: turned as its EXIF says."""
    width, height = opened.size
    sideways = opened.format != "TIFF" and opened.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def _decode_smaller(opened: Image.Image, times: int) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 where even so it has as many pixels as are needed.

    A part of its cosine transform gives the mean of each 2x2, 4x4 or 8x8 pixels, at a fraction of the time.
    """
    if times >= 2:
        opened.draft("RGB", (opened.width // times, opened.height // times))


def _drawn(width: int, height: int, chance: np.random.Generator) -> tuple[int, int, int, int]:
    """x, y, width and height of a random part, drawn as torchvision's RandomResizedCrop draws it."""
    for _ in range(_TRIES):
        area = width * height * chance.uniform(_AREA, 1.0)
        ratio = math.exp(chance.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(chance.integers(width - w + 1)), int(chance.integers(height - h + 1)), w, h
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    return (width - w) // 2, (height - h) // 2, w, h
