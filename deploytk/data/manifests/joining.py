"""Several tables as one manifest (polars): splits, absolute paths, ids in the order of names, whole boxes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deploytk.data.dataset import SPLITS
from deploytk.data.manifests import columns, table
from deploytk.data.manifests.manifest import NONE, Manifest, RowFault
from deploytk.data.manifests.table import LINE, Table
from deploytk.errors import InputError
from deploytk.plugins import suggestion

_ROW = "\0row"
#: What in a path may be written otherwise and mean the same. A name that begins with a dot is among them: no harm done.
_ROUNDABOUT = ["//", "/."]


def joined(paths: Sequence[Path]) -> Manifest:
    """The rows of all files, in order.

    Raises:
        InputError: a file is no manifest, or the split of its rows is not known.
    """
    tables = tuple(table.read(path) for path in paths)
    frame = pl.concat(_common(i, each, alone=len(tables) == 1) for i, each in enumerate(tables))
    classes = frame["label"].drop_nulls().unique().sort().to_list()
    images, image = _images(frame["path"])
    boxes = frame.select(columns.BOX) if any("x1" in each.frame.columns for each in tables) else None
    numbers = None if boxes is None else _numbers(boxes)
    return Manifest(
        tables=tables,
        classes=tuple(classes),
        images=images,
        source=frame["source"].to_numpy(),
        line=frame[LINE].to_numpy(),
        image=image,
        label=_ids(frame["label"], classes),
        split=frame["split"].to_numpy(),
        boxes=numbers,
        faults=tuple(sorted(_faults(frame, boxes, numbers), key=lambda fault: fault.row)),
    )


def _common(number: int, read: Table, *, alone: bool) -> pl.DataFrame:
    """The columns that mean something, in the same order whatever the file has."""
    frame, root = read.frame, str(read.path.absolute().parent)
    absolute = pl.when(pl.col("path").str.starts_with("/")).then(pl.col("path")).otherwise(root + "/" + pl.col("path"))
    box = [pl.col(name) if name in frame.columns else pl.lit(None, dtype=pl.String).alias(name) for name in columns.BOX]
    source = pl.lit(number, dtype=pl.Int8).alias("source")
    return frame.select(source, LINE, absolute.alias("path"), "label", _splits(read, alone), *box)


def _splits(read: Table, alone: bool) -> pl.Series:
    """The index of each row's split in SPLITS.

    Raises:
        InputError: a name that is none, or none at all.
    """
    if "split" not in read.frame.columns:
        named = columns.split_of_name(read.path) or ("train" if alone else None)
        if named is None:
            raise InputError(
                f"{read.path}: neither a column 'split' nor a name that says which split it is; call it train.csv, "
                "val.csv or test.csv, or add the column"
            )
        return pl.Series("split", [SPLITS.index(named)] * read.frame.height, dtype=pl.Int8)
    ids = {name: SPLITS.index(split) for name, split in columns.NAMES.items()}
    split = read.frame["split"]
    told = split.str.to_lowercase().replace_strict(ids, default=None, return_dtype=pl.Int8)
    wrong = told.is_null().arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{read.path}:{read.frame[LINE][row]}: {_no_split(split[row])}{_more(len(wrong) - 1)}")
    return told.alias("split")


def _no_split(name: str | None) -> str:
    if name is None:
        return "no split; write train, val or test"
    return f"there is no split {name!r}{suggestion(name.lower(), columns.NAMES) or '; write train, val or test'}"


def _more(count: int) -> str:
    return f" (and {count:,} more such rows)" if count else ""


def _images(path: pl.Series) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """(each path once, the index of each row's)."""
    roundabout = path.str.contains_any(_ROUNDABOUT).fill_null(False)
    if roundabout.any():
        plain = path.filter(roundabout).map_elements(os.path.normpath, return_dtype=pl.String)
        path = path.scatter(roundabout.arg_true(), plain)
    once = path.unique(maintain_order=True).drop_nulls()
    if len(once) == len(path):
        return tuple(path.to_list()), np.arange(len(path), dtype=np.int32)
    ids = pl.DataFrame({"path": once}).with_row_index("id")
    found = pl.DataFrame({"path": path}).join(ids, on="path", how="left", maintain_order="left")
    return tuple(once.to_list()), found["id"].cast(pl.Int32).fill_null(NONE).to_numpy()


def _ids(label: pl.Series, classes: list[str]) -> NDArray[np.int32]:
    physical = label.cast(pl.Enum(classes)).to_physical()
    return physical.cast(pl.Int32).fill_null(NONE).to_numpy()


def _numbers(boxes: pl.DataFrame) -> NDArray[np.float64]:
    read = boxes.select(pl.col(columns.BOX).str.strip_chars().cast(pl.Float64, strict=False))
    return read.fill_null(float("nan")).to_numpy()


def _faults(frame: pl.DataFrame, boxes: pl.DataFrame | None, numbers: NDArray[np.float64] | None) -> Iterator[RowFault]:
    for name in columns.NEEDED:
        for row in frame[name].is_null().arg_true():
            yield RowFault(int(row), name, f"no {name}")
    if boxes is None or numbers is None:
        return
    told = boxes.select(pl.sum_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    finite: NDArray[np.bool_] = np.all(np.isfinite(numbers), axis=1)
    no_area = (numbers[:, 0] >= numbers[:, 2]) | (numbers[:, 1] >= numbers[:, 3])
    outside = (numbers < 0).any(1)
    for row in np.flatnonzero((told > 0) & (~finite | no_area | outside)):
        yield RowFault(int(row), "box", _wrong_box(boxes.row(int(row)), bool(finite[row]), bool(no_area[row])))


def _wrong_box(cells: tuple[str | None, ...], finite: bool, no_area: bool) -> str:
    told = ", ".join(f"{name} {cell or 'empty'}" for name, cell in zip(columns.BOX, cells, strict=True))
    if not finite:
        return f"a box is four numbers in pixels: {told}"
    return f"a box without an area: {told}" if no_area else f"a box that begins outside of its image: {told}"
