"""Two real data sets, made ready for a two-stage run: photos of pills to find, handwritten characters to name.

python bench/suites/two_stage/real.py OUT [--data ../shared/data]    # OUT/pills/data.yaml, OUT/characters/{train,val}

The sample of pushin-pill has 21 photos, in its splits test and val; what it calls test is trained on here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import yaml

from deploytk.files import written_whole

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from omniglot import _ARCHIVE, unpacked


def pills(source: Path, out: Path) -> Path:
    """The photos with a data.yaml whose splits are there."""
    # Prose follows the YAML in that file.
    told, _, _ = (source / "data.yaml").read_text(encoding="utf-8").partition("\ndescription\n")
    names = yaml.safe_load(told)["names"]
    if not out.is_dir():
        with written_whole(out) as partial:
            for kind in ("images", "labels"):
                for split, given in (("train", "test"), ("val", "val")):
                    shutil.copytree(source / kind / given, partial / kind / split)
            made = {"path": ".", "train": "images/train", "val": "images/val", "names": names}
            (partial / "data.yaml").write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    return out / "data.yaml"


def main() -> None:
    """Make both."""
    asked = argparse.ArgumentParser(description="Pills to find and characters to name.")
    asked.add_argument("out", type=Path)
    asked.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = asked.parse_args()
    print(pills(given.data / "pushin_pill_yolo_small", given.out / "pills"))
    print(unpacked(given.data / "omniglot_small1" / _ARCHIVE, given.out / "characters"))


if __name__ == "__main__":
    main()
