"""Small manifests, as text and with drawn pictures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from damaged_data import jpeg


def written(path: Path, *rows: str, header: str = "path,label") -> Path:
    """A CSV file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), encoding="utf-8")
    return path


def sound(root: Path, *, train: int = 4, val: int = 2, labels: Sequence[str] = ("007", "cat")) -> tuple[Path, Path]:
    """train.csv and val.csv with a picture of its own for each row; labels take turns."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(train + val):
        (root / f"{i}.jpg").write_bytes(jpeg(i))
        rows.append(f"{i}.jpg,{labels[i % len(labels)]}")
    return written(root / "train.csv", *rows[:train]), written(root / "val.csv", *rows[train:])


def append(path: Path, *rows: str) -> None:
    """More rows at the end of a manifest."""
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(f"{row}\n" for row in rows)
