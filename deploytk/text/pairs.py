"""What a text model reads and should write, from a table: CSV, TSV, JSON lines or Parquet (polars).

Which pairs are kept from training, and which are drawn to score a model with, depends on the text alone: rows that are
added move no other, and every model, whenever it is looked at, is asked the same.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from deploytk.data.manifests import text as files
from deploytk.errors import InputError
from deploytk.files import sha256_of_value
from deploytk.plugins import import_or_explain, suggestion
from deploytk.profile import Profile

_KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
#: What a file with the pairs that are not trained on may be called.
_VAL = ("val", "validation", "dev", "test")
_SPLITS = {"train": "train", "training": "train", **dict.fromkeys(_VAL, "val")}
#: A seed of its own, so that what is scored is not what was kept from training first.
_KEPT, _DRAWN = "kept", "drawn"


class Pair(NamedTuple):
    """A text, and what should be answered."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of a dataset."""

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    left_out: int = 0  # rows without a source or a target

    def fingerprint(self) -> str:
        """The sha256 of what is trained on and what is not."""
        return sha256_of_value([self.train, self.val])

    def counts(self) -> dict[str, int]:
        """How many pairs each split has."""
        return {"train": len(self.train), "val": len(self.val), "left_out": self.left_out}


def read(profile: Profile) -> Pairs:
    """The pairs of a profile's dataset.

    Raises:
        InputError: there is none, it cannot be read, a column is not there, or a split is empty.
        MissingDependency: polars is not installed.
    """
    wanted = profile.text
    assert wanted is not None
    if profile.data.path is None:
        raise InputError(f"no data; give --data FILE ({', '.join(_KINDS)}, or a folder with train.* and val.*)")
    columns = (wanted.source, wanted.target)
    path = profile.data.path
    found = _of_folder(path, columns) if path.is_dir() else _of_file(path, columns, wanted.validation)
    for name in ("train", "val"):
        if not getattr(found, name):
            raise InputError(f"{path}: no pairs in split {name} ({found.left_out} rows had no source or no target)")
    return found


def of_file(path: Path, source: str, target: str) -> tuple[Pair, ...]:
    """All pairs of one file, in its order.

    Raises:
        InputError: it cannot be read, a column is not there, or there is no pair.
    """
    rows, _ = _rows(path, (source, target))
    if not rows:
        raise InputError(f"{path}: no row has both {source} and {target}")
    return tuple(pair for pair, _ in rows)


def held_out(path: Path, source: str, target: str) -> tuple[Pair, ...]:
    """The pairs of split val: of a folder its val file, of a file its rows of that split, or all where it has no split.

    Raises:
        InputError: it cannot be read, a column is not there, or there is no pair.
    """
    if not path.is_dir():
        rows, _ = _rows(path, (source, target))
        found = tuple(pair for pair, split in rows if split in (None, "val"))
    else:
        file = _named(path, _VAL)
        if file is None:
            raise InputError(f"{path}: no val file in it; name it val.csv (or {', '.join(_KINDS[1:])})")
        found = of_file(file, source, target)
    if not found:
        raise InputError(f"{path}: no row of split val has both {source} and {target}")
    return found


def drawn(pairs: Sequence[Pair], count: int, seed: int = 0) -> tuple[Pair, ...]:
    """`count` of the pairs, the same ones whenever they are drawn from the same texts; all where there are no more."""
    order = sorted(range(len(pairs)), key=lambda i: (_draw(pairs[i].source, f"{_DRAWN}{seed}"), i))
    return tuple(pairs[i] for i in sorted(order[:count]))


def digest(pairs: Iterable[Pair]) -> str:
    """The sha256 of pairs in their order: two scores can be compared where it is the same."""
    return sha256_of_value(list(pairs))


def _of_folder(folder: Path, columns: tuple[str, str]) -> Pairs:
    train, val = _named(folder, ("train",)), _named(folder, _VAL)
    if train is None or val is None:
        missing = "train" if train is None else "val"
        raise InputError(f"{folder}: no {missing} file in it; name it {missing}.csv (or {', '.join(_KINDS[1:])})")
    (trained, out), (kept, more) = _rows(train, columns), _rows(val, columns)
    return Pairs(train=tuple(p for p, _ in trained), val=tuple(p for p, _ in kept), left_out=out + more)


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    return next((p for name in names for kind in _KINDS if (p := folder / f"{name}{kind}").is_file()), None)


def _of_file(path: Path, columns: tuple[str, str], share: float) -> Pairs:
    rows, left_out = _rows(path, columns)
    sides: dict[str, list[Pair]] = {"train": [], "val": []}
    for pair, split in rows:
        sides[split or ("val" if _draw(pair.source, _KEPT) < share else "train")].append(pair)
    return Pairs(train=tuple(sides["train"]), val=tuple(sides["val"]), left_out=left_out)


def _rows(path: Path, columns: tuple[str, str]) -> tuple[list[tuple[Pair, str | None]], int]:
    """(each pair, with its split where the file says one; how many rows had no source or no target)."""
    frame = _frame(path)
    for column in columns:
        if column not in frame.columns:
            has = f"it has {', '.join(frame.columns)}"
            raise InputError(f"{path}: no column {column!r}{suggestion(column, frame.columns) or '.'} {has}")
    told = frame["split"].to_list() if "split" in frame.columns else [None] * frame.height
    splits = [None if each is None else _split(path, row, each) for row, each in enumerate(told, 1)]
    sources, targets = (["" if t is None else str(t).strip() for t in frame[c].to_list()] for c in columns)
    found = [(Pair(*two), split) for *two, split in zip(sources, targets, splits, strict=True) if all(two)]
    return found, frame.height - len(found)


def _split(path: Path, row: int, told: Any) -> str:
    found = _SPLITS.get(str(told).strip().lower())
    if found is None:
        raise InputError(f"{path}: row {row}: split {told!r} is none of {', '.join(_SPLITS)}")
    return found


def _frame(path: Path) -> Any:
    """The table in a file, its cells as they stand there."""
    kind = path.suffix.lower()
    if kind not in _KINDS:
        raise InputError(f"{path}: a table of texts is one of {', '.join(_KINDS)}, or a folder with train.* and val.*")
    polars = import_or_explain("polars")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = b"" if kind == ".parquet" else files.content(path)
    try:
        if kind == ".parquet":
            return polars.read_parquet(path)
        if kind == ".jsonl":
            return polars.read_ndjson(io.BytesIO(data), infer_schema_length=None)
        return polars.read_csv(io.BytesIO(data), infer_schema=False, separator="\t" if kind == ".tsv" else ",")
    except polars.exceptions.PolarsError as error:
        raise InputError(_why(path, kind, data, str(error))) from error


def _why(path: Path, kind: str, data: bytes, said: str) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return files.encoding(path, data).message
    ragged = files.ragged(path, data) if kind == ".csv" else []
    return "\n".join(ragged) or f"{path}: cannot be read as {kind[1:]}: {said.splitlines()[0][:200]}"


def _draw(text: str, seed: str) -> float:
    """A number from 0 to 1 that depends on a text alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{text}".encode()).digest()[:8]) / 2**64
