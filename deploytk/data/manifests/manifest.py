"""A manifest as one frozen value of columns: half a million rows in some 100 MB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploytk.data.dataset import SPLITS
from deploytk.errors import InputError
from deploytk.plugins import import_or_explain

if TYPE_CHECKING:
    from deploytk.data.manifests.table import Table

#: A row without a label, without a path.
NONE = -1
#: So many sentences are told of a file; the rest are counted.
_TOLD = 20


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with one row; `row` counts over all sources."""

    row: int
    kind: str  # "path", "label", "box"
    said: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The rows of one or more CSV files, column by column. Equal indices belong to one row."""

    tables: tuple[Table, ...]  # as they were read: what a cleaned copy is written from
    classes: tuple[str, ...]  # sorted: the index of a class is its id
    images: tuple[str, ...]  # each path once, absolute
    source: NDArray[np.int8]  # which of the tables
    line: NDArray[np.int32]
    image: NDArray[np.int32]  # index in `images`, or NONE
    label: NDArray[np.int32]  # index in `classes`, or NONE
    split: NDArray[np.int8]  # index in SPLITS
    boxes: NDArray[np.float64] | None = None  # x1 y1 x2 y2 in pixels, NaN where a row has none
    faults: tuple[RowFault, ...] = ()

    def __len__(self) -> int:
        return len(self.line)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(table.path for table in self.tables)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have a row."""
        counted = np.bincount(self.split, minlength=len(SPLITS))
        return tuple(split for split, rows in zip(SPLITS, counted, strict=True) if rows)

    def where(self, row: int) -> tuple[Path, int]:
        """(file, line) of a row."""
        return self.tables[int(self.source[row])].path, int(self.line[row])

    def counts(self) -> dict[str, dict[str, int]]:
        """class -> split -> rows."""
        known = self.label != NONE
        shape = (len(self.classes), len(SPLITS))
        counted = np.zeros(shape, dtype=np.int64)
        np.add.at(counted, (self.label[known], self.split[known]), 1)
        columns = [(split, counted[:, SPLITS.index(split)].tolist()) for split in self.splits]
        return {name: {split: of[i] for split, of in columns} for i, name in enumerate(self.classes)}


def read(*paths: Path) -> Manifest:
    """The manifest in one or more CSV files, every row of which has a path, a label and, if any, a whole box.

    No image is looked at. The split of a row stands in its column `split`, else in the name of the file.

    Raises:
        InputError: a file is no such manifest; a reason for each of the first rows that are wrong.
        MissingDependency: polars is not installed.
    """
    found = read_all(*paths)
    if found.faults:
        reasons = tuple(_sentences(found))
        raise InputError("\n".join(reasons), reasons=reasons)
    return found


def read_all(*paths: Path) -> Manifest:
    """As `read`, but what is wrong with single rows comes back as `faults`.

    Raises:
        InputError: a file is no such manifest.
        MissingDependency: polars is not installed.
    """
    found: Manifest = import_or_explain("deploytk.data.manifests.joining").joined(paths)
    return found


def _sentences(found: Manifest) -> Iterator[str]:
    for fault in found.faults[:_TOLD]:
        path, line = found.where(fault.row)
        yield f"{path}:{line}: {fault.said}"
    if len(found.faults) > _TOLD:
        yield f"{len(found.faults) - _TOLD:,} more rows are wrong; deploytk data check lists them all"
