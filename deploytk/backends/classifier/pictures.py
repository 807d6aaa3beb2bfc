"""Images as a classifier takes them: prepared as at inference, or varied for training (torch, torchvision, Pillow)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset
from torchvision.transforms import v2

from deploytk.data.classified import Picture
from deploytk.data.images import FORMATS
from deploytk.data.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from deploytk.profile import Train
from deploytk.training.loop import seeds
from deploytk.training.loop.batches import Key

Batch = tuple[torch.Tensor, torch.Tensor]

#: The part of an image's area that a training crop has at least. ImageNet's usual 0.08 cuts most of an object away.
_AREA = 0.35


def preparation(imgsz: int) -> Preparation:
    """How an image becomes an input at validation and inference: the usual centre crop of classifiers."""
    return Preparation(kind="center-crop", size=(imgsz, imgsz), mean=IMAGENET_MEAN, std=IMAGENET_STD)


class Varied(Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc, unused-ignore]
    """Training images: a random crop, mirrored now and then. What is drawn depends on seed, epoch and image alone."""

    def __init__(self, pictures: Sequence[Picture], imgsz: int, train: Train) -> None:
        self.pictures, self.seed = pictures, train.seed
        self.change = v2.Compose(
            [
                v2.RandomResizedCrop(imgsz, scale=(_AREA, 1.0), antialias=True),
                v2.RandomHorizontalFlip(train.fliplr),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """(3, imgsz, imgsz) float32 and its class."""
        picture = self.pictures[key[1]]
        with Image.open(picture.image, formats=FORMATS) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        with torch.random.fork_rng(devices=[]):  # without worker processes dropout draws from the same generator
            torch.manual_seed(seeds.draw(self.seed, *key))
            return self.change(image), picture.label


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
        made = self.preparation.prepare(picture.image.read_bytes(), str(picture.image))
        return torch.from_numpy(made[0]), picture.label


def collate(items: Sequence[tuple[torch.Tensor, int]]) -> Batch:
    """((N, 3, imgsz, imgsz) float32, (N,) int64)."""
    return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])
