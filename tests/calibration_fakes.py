"""Datasets drawn for the tests of calibration sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, level: int, seed: int, side: int = 24) -> Path:
    """A PNG of noise around a grey level; the same level and seed give the same bytes."""
    noise = np.random.default_rng([seed, level]).integers(-9, 10, (side, side, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(level + noise, 0, 255).astype(np.uint8)).save(path)
    return path


def yolo(folder: Path, labels: Sequence[int | None], val: int = 3, classes: int | None = None) -> Path:
    """The data.yaml of a detection set: training images from dark to bright, with one box (or none) each."""
    for n, label in enumerate(labels):
        picture(folder / f"images/train/{n:03d}.png", n * 255 // len(labels), n)
        if label is not None:
            text = folder / f"labels/train/{n:03d}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(f"{label} 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    for n in range(val):
        picture(folder / f"images/val/{n:03d}.png", 128, 1000 + n)
    named = classes or 1 + max(label or 0 for label in labels)
    names = ", ".join(f"c{n}" for n in range(named))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{names}]\n", encoding="utf-8")
    return folder / "data.yaml"


def folders(folder: Path, train: str = "train/", val: str = "val/", images: int = 6) -> Path:
    """A classification set: one subfolder per class."""
    for turn, name in enumerate(("cat", "dog")):
        for n in range(images):
            picture(folder / f"{train}{name}/{n}.png", 40 * n, 10 * turn + n)
        if val:
            picture(folder / f"{val}{name}/v.png", 100, 77 + turn)
    return folder
