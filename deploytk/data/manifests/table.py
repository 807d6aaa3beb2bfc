"""One CSV file as a table of strings, read and written by polars."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from deploytk.data.manifests import columns, text
from deploytk.errors import InputError

#: The column with the line each row begins on.
LINE = "\0line"


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one file: all cells are strings ("007" stays "007"), an empty one is null."""

    path: Path
    frame: pl.DataFrame
    unused: tuple[str, ...]  # columns that have no meaning here

    def __len__(self) -> int:
        return self.frame.height

    @property
    def paths(self) -> list[str | None]:
        """The paths as they stand there."""
        return self.frame["path"].to_list()

    def write(self, kept: list[bool], paths: list[str | None], out: Path) -> None:
        """Write the rows that are kept to `out`, in order and with the same columns, but with these `paths`."""
        frame = self.frame.drop(LINE).with_columns(pl.Series("path", paths, dtype=pl.String))
        frame.filter(pl.Series(kept, dtype=pl.Boolean)).write_csv(out)


def read(path: Path) -> Table:
    """The table in a CSV file.

    Raises:
        InputError: it cannot be read, or a column is missing or wrong.
    """
    data = text.content(path)
    try:
        # All as strings: a label is a name, however much it looks like a number.
        frame = pl.read_csv(io.BytesIO(data), infer_schema=False)
    except PolarsError as error:
        raise _unread(path, data, error) from error
    unused = columns.check(path, _header(path, data) or frame.columns)
    if frame[frame.columns[-1]].null_count():  # an empty cell, or none: polars does not tell
        _require_even(path, data)
    frame = frame.with_columns(pl.Series(LINE, _lines(data, frame.height), dtype=pl.Int32))
    frame = frame.with_columns(pl.col(pl.String).replace("", None))
    frame = frame.filter(~pl.all_horizontal(pl.all().exclude(LINE).is_null()))
    if not frame.height:
        raise InputError(f"{path}: a header and no row")
    return Table(path=path, frame=frame, unused=unused)


def _unread(path: Path, data: bytes, error: PolarsError) -> InputError:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return text.encoding(path, data)
    reasons = text.ragged(path, data) or [f"{path}: no CSV file that can be read ({str(error).splitlines()[0][:200]})"]
    return InputError("\n".join(reasons), reasons=tuple(reasons))


def _require_even(path: Path, data: bytes) -> None:
    reasons = text.ragged(path, data)
    if reasons:
        raise InputError("\n".join(reasons), reasons=tuple(reasons))


def _header(path: Path, data: bytes) -> list[str]:
    """The names as they stand there (polars renames one that is there twice); empty where they are in quotes."""
    first = data.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        return [] if b'"' in first else first.decode("utf-8").split(",")
    except UnicodeDecodeError as error:  # of a header polars does not tell
        raise text.encoding(path, data) from error


def _lines(data: bytes, rows: int) -> list[int] | range:
    """The line of each row behind the header."""
    if b'"' not in data:
        return range(2, rows + 2)
    return text.lines(data)[:rows]
