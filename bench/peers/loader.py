"""Training images per second beside torchvision's ImageFolder and transforms, with as many workers.

python bench/peers/loader.py [--data ../shared/data]    # writes bench/results/loader.*

Both load the same files in a DataLoader: a random part of 0.35 to 1 of the area, mirrored in half of the cases, as a
normalised float32 batch. In turns in one process, the ratio within each round.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from omniglot import _ARCHIVE, unpacked
from PIL import Image
from results import keep, parser
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from deploytk.artifact import versions_of
from deploytk.backends.classifier import pictures
from deploytk.data import classified
from deploytk.data.preparation import IMAGENET_MEAN, IMAGENET_STD
from deploytk.profile_training import Train
from deploytk.training.loop import batches

ROUNDS, BATCH, AREA = 5, 32, (0.35, 1.0)


def photos(data: Path, out: Path, width: int, copies: int) -> Path:
    """The pill photos as a folder per class, enlarged or reduced to a width; each `copies` times."""
    for number, path in enumerate(sorted((data / "pushin_pill_yolo_small" / "images").rglob("*.jpg"))):
        image = Image.open(path).convert("RGB")
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
        for split in ("train", "val"):
            for copy in range(copies if split == "train" else 1):
                file = out / split / f"class{number % 4}" / f"{number}_{copy}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                image.save(file, quality=90)
    return out


def ours(folder: Path, size: int, workers: int) -> Callable[[], Iterator[torch.Tensor]]:
    """deploytk's loader: an epoch of float32 batches each time it is called."""
    train = classified.read(folder).splits["train"]
    order = batches.Order([])
    loader: DataLoader[Any] = DataLoader(
        pictures.Varied(train, size, Train()),
        batch_sampler=order,  # type: ignore[arg-type]
        collate_fn=pictures.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def epoch() -> Iterator[torch.Tensor]:
        order.steps = batches.plan(len(train), batch=BATCH, accumulate=1, seed=0, epoch=1)
        for images, _ in loader:
            yield pictures.normalised(images)

    return epoch


def theirs(folder: Path, size: int, workers: int) -> Callable[[], Iterator[torch.Tensor]]:
    """torchvision's: ImageFolder and the transforms of its training recipe."""
    change = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=AREA, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    loader: DataLoader[Any] = DataLoader(
        ImageFolder(str(folder / "train"), change),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def epoch() -> Iterator[torch.Tensor]:
        for images, _ in loader:
            yield images

    return epoch


def compared(what: str, folder: Path, size: int, workers: int) -> dict[str, Any]:
    """A row: images per second of both, and the median of the ratios of the rounds."""
    ways = {"ours": ours(folder, size, workers), "torchvision": theirs(folder, size, workers)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):  # the first starts the workers and fills the page cache
        for name in ways if turn % 2 else reversed(ways):
            started = time.perf_counter()
            images = sum(len(batch) for batch in ways[name]())
            if turn:
                rates[name].append(images / (time.perf_counter() - started))
    ratios = [a / b for a, b in zip(rates["ours"], rates["torchvision"], strict=True)]
    return {
        "files": what,
        "imgsz": size,
        "workers": workers,
        "deploytk images/s": round(statistics.median(rates["ours"])),
        "torchvision images/s": round(statistics.median(rates["torchvision"])),
        "times as fast": round(statistics.median(ratios), 2),
        "lowest round": round(min(ratios), 2),
        "highest round": round(max(ratios), 2),
    }


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("Training images per second beside torchvision.", "loader")
    asked.add_argument("--data", type=Path, default=Path("../shared/data"))
    asked.add_argument("--workers", type=int, default=2)
    given = asked.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        drawn = unpacked(given.data / "omniglot_small1" / _ARCHIVE, place / "omniglot")
        rows.append(compared("handwriting, PNG of 105 px", drawn, 64, given.workers))
        for width, copies, sizes in ((160, 30, (64,)), (640, 12, (64, 224)), (1920, 6, (64, 224))):
            folder = photos(given.data, place / str(width), width, copies)
            rows += [compared(f"photos, JPEG of {width} px", folder, s, given.workers) for s in sizes]
    for row in rows:
        print(row)
    fast = [row["times as fast"] for row in rows]
    keep(
        given.out,
        "loader",
        sentence=f"{min(fast)} to {max(fast)} times as many training images per second as torchvision's ImageFolder.",
        how=f"{ROUNDS} rounds in turns in one process, {given.workers} workers each, batches of {BATCH}; pill photos "
        "of 640 px enlarged and reduced, a random part of 0.35 to 1 of the area.",
        rows=rows,
        versions=versions_of("deploytk", "torch", "torchvision", "pillow"),
    )


if __name__ == "__main__":
    main()
