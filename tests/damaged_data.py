"""Small datasets of drawn pictures, none like another, and ways to damage them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from deploytk.data.checks.image_checks import Looked
from deploytk.data.checks.rules import Problem

YAML = "train: images/train\nval: images/val\nnames: [ring, block]\n"


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture of soft blots: as different from that of another seed as two photos."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def jpeg(seed: int, size: tuple[int, int] = (96, 64), quality: int = 90) -> bytes:
    stream = io.BytesIO()
    picture(seed, size).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def yolo(root: Path, *, train: int = 3, val: int = 2, label: str = "0 0.5 0.5 0.4 0.4\n1 0.2 0.2 0.3 0.3\n") -> Path:
    """The data.yaml of a small dataset without a fault but its size."""
    seed = 0
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            seed += 1
            (root / "images" / split / f"{i}.jpg").write_bytes(jpeg(seed))
            (root / "labels" / split / f"{i}.txt").write_text(label)
    (root / "data.yaml").write_text(YAML)
    return root / "data.yaml"


def codes(found: Looked | list[Problem] | tuple[Problem, ...]) -> list[str]:
    """The rules that do not hold, in order."""
    problems = found.problems if isinstance(found, Looked) else found
    return [problem.rule.code for problem in problems]
