"""Manifests without the rows that cannot be trained on, and a list of those rows and why. No image is touched."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploytk.data.checks.cleaning import require_place
from deploytk.data.checks.rules import Problem
from deploytk.data.dataset import SPLITS
from deploytk.data.manifests.manifest import NONE, Manifest
from deploytk.data.manifests.survey import Survey
from deploytk.errors import InputError
from deploytk.files import written_whole

REJECTED = "rejected.csv"


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The new manifests in numbers."""

    folder: Path
    images: Mapping[str, int]  # split -> rows that are kept
    rejected: int


def require_new(out: Path, sources: tuple[Path, ...]) -> None:
    """Nothing, where new manifests may be written to `out`.

    Raises:
        InputError: something is there already, or two of them would have one name.
    """
    require_place(out, "--remove-corrupt")
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1 or name == REJECTED), None)
    if twice is not None:
        raise InputError(f"{out}: {twice} would be written twice; give the manifests names of their own")


def clean(found: Survey, out: Path) -> Cleaned:
    """The manifests that now stand in the folder `out`, with `rejected.csv` beside them.

    Raises:
        InputError: `out` may not be written to, or no row of a split is left.
    """
    told = found.manifest
    require_new(out, told.sources)
    images = _left(told, found.rejected)
    with written_whole(out) as temporary:
        temporary.mkdir()
        _write(told, found.rejected, temporary, out)
        _write_rejected(told, found.rejected, temporary / REJECTED)
    return Cleaned(folder=out, images=images, rejected=len(found.rejected))


def _left(told: Manifest, rejected: Mapping[int, Problem]) -> dict[str, int]:
    had = {split: int((told.split == SPLITS.index(split)).sum()) for split in told.splits}
    lost = [SPLITS[told.split[row]] for row in rejected]
    left = {split: count - lost.count(split) for split, count in had.items()}
    empty = next((split for split, count in left.items() if not count), None)
    if empty is not None:
        raise InputError(f"{told.sources[0]}: no row of {empty} could be kept; nothing was written")
    return left


def _write(told: Manifest, rejected: Mapping[int, Problem], folder: Path, out: Path) -> None:
    start = 0
    for table in told.tables:
        kept = [row not in rejected for row in range(start, start + len(table))]
        table.write(kept, _moved(table.paths, table.path.absolute().parent, out.absolute()), folder / table.path.name)
        start += len(table)


def _moved(paths: list[str | None], root: Path, out: Path) -> list[str | None]:
    """Relative paths, from `out` on."""
    way = os.path.relpath(root, out)
    return [path if path is None or path.startswith("/") else f"{way}/{path}" for path in paths]


def _write_rejected(told: Manifest, rejected: Mapping[int, Problem], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "row", "path", "label", "rule", "reason"))
        for row, problem in sorted(rejected.items(), key=lambda each: each[0]):
            source, line = told.where(row)
            image = told.images[told.image[row]] if told.image[row] != NONE else ""
            label = told.classes[told.label[row]] if told.label[row] != NONE else ""
            writer.writerow((source.name, line, image, label, problem.rule.code, problem.said))
