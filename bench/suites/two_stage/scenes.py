"""Photos-like scenes of handwritten characters, labelled: something to find, and 136 names for it.

python bench/suites/two_stage/scenes.py OUT [--data ../shared/data/omniglot_small1] [--scenes 400]    # OUT/data.yaml

Each scene is a page of 320x240 pixels with one to six characters of Omniglot (Lake et al. 2015), in several sizes and
inks. What persons 16 to 20 wrote is in the validation scenes only.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import zipfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageOps

from deploytk.files import written_whole

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from omniglot import _ARCHIVE, _TRAINED_BY

WIDTH, HEIGHT = 320, 240
_SIDES = (40, 72)  # of a character in pixels
_TRIES = 30


def characters(archive: Path) -> dict[str, dict[str, list[Image.Image]]]:
    """Split -> name of the character -> its pictures, 1 where there is ink."""
    found: dict[str, dict[str, list[Image.Image]]] = {"train": {}, "val": {}}
    with zipfile.ZipFile(archive) as held:
        for name in sorted(n for n in held.namelist() if n.endswith(".png")):
            *_, alphabet, character, file = Path(name).parts
            split = "train" if int(file.removesuffix(".png").split("_")[1]) <= _TRAINED_BY else "val"
            ink = ImageOps.invert(Image.open(io.BytesIO(held.read(name))).convert("L"))
            cut = ink.crop(ink.getbbox())
            found[split].setdefault(f"{alphabet}-{character}", []).append(cut)
    return found


def scene(
    pictures: dict[str, list[Image.Image]], names: list[str], chance: random.Random
) -> tuple[Image.Image, list[tuple[int, float, float, float, float]]]:
    """(the page, its objects as class, centre, width and height in shares of it)."""
    page = Image.new("L", (WIDTH, HEIGHT), chance.randint(200, 255))
    taken: list[tuple[int, int, int, int]] = []
    labels = []
    for _ in range(chance.randint(1, 6)):
        name = chance.choice(names)
        picture = chance.choice(pictures[name])
        scale = chance.randint(*_SIDES) / max(picture.size)
        width, height = (max(4, round(side * scale)) for side in picture.size)
        place = _free(taken, width, height, chance)
        if place is None:
            continue
        left, top = place
        page.paste(chance.randint(0, 90), (left, top), picture.resize((width, height), Image.Resampling.BICUBIC))
        taken.append((left, top, left + width, top + height))
        x, y = (left + width / 2) / WIDTH, (top + height / 2) / HEIGHT
        labels.append((names.index(name), x, y, width / WIDTH, height / HEIGHT))
    grain = np.random.default_rng(chance.randrange(2**32)).normal(0, 4, (HEIGHT, WIDTH, 1))
    pixels = np.clip(np.asarray(page, np.float64)[:, :, None] + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(pixels, 3, axis=2)), labels


def _free(
    taken: list[tuple[int, int, int, int]], width: int, height: int, chance: random.Random
) -> tuple[int, int] | None:
    """A place where nothing is yet, with some air around it; None where none was met."""
    for _ in range(_TRIES):
        left, top = chance.randint(4, WIDTH - width - 4), chance.randint(4, HEIGHT - height - 4)
        free = all(
            left > right + 6 or left + width + 6 < first or top > bottom + 6 or top + height + 6 < above
            for first, above, right, bottom in taken
        )
        if free:
            return left, top
    return None


def drawn(archive: Path, out: Path, scenes: int) -> Path:
    """The data.yaml of so many scenes to train on and a quarter as many to validate with; the same every time."""
    found, chance = characters(archive), random.Random(0)
    names = sorted(found["train"])
    with written_whole(out) as partial:
        for split, count in (("train", scenes), ("val", scenes // 4)):
            for kind in ("images", "labels"):
                (partial / kind / split).mkdir(parents=True)
            for number in range(count):
                page, labels = scene(found[split], names, chance)
                page.save(partial / "images" / split / f"{number:05d}.jpg", quality=92)
                text = "".join(" ".join(f"{v:.6g}" for v in label) + "\n" for label in labels)
                (partial / "labels" / split / f"{number:05d}.txt").write_text(text, encoding="utf-8")
        told = {"path": ".", "train": "images/train", "val": "images/val", "names": names}
        (partial / "data.yaml").write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
    return out / "data.yaml"


def main() -> None:
    """Draw them."""
    asked = argparse.ArgumentParser(description="Scenes of handwritten characters, labelled.")
    asked.add_argument("out", type=Path)
    asked.add_argument("--data", type=Path, default=Path("../shared/data/omniglot_small1"))
    asked.add_argument("--scenes", type=int, default=400)
    given = asked.parse_args()
    print(drawn(given.data / _ARCHIVE, given.out, given.scenes))


if __name__ == "__main__":
    main()
