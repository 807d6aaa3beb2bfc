"""The columns of a manifest, and the names of its splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deploytk.data.dataset import SPLITS
from deploytk.data.manifests import text
from deploytk.errors import InputError
from deploytk.plugins import suggestion

NEEDED = ("path", "label")
BOX = ("x1", "y1", "x2", "y2")
KNOWN = (*NEEDED, *BOX, "split")
#: How splits are called elsewhere -> here.
NAMES = {**{split: split for split in SPLITS}, "valid": "val", "validation": "val", "training": "train", "dev": "val"}


def check(path: Path, header: Sequence[str]) -> tuple[str, ...]:
    """The columns that have no meaning here, for they may be anything.

    Raises:
        InputError: one is missing or there twice, or has a name that is nearly a known one's.
    """
    reasons = [*_twice(path, header), *_missing(path, header), *_boxes(path, header)]
    if not reasons:
        reasons = [*_nearly(path, header)]
    if reasons:
        raise InputError("\n".join(reasons), reasons=tuple(reasons))
    return tuple(name for name in header if name not in KNOWN)


def _twice(path: Path, header: Sequence[str]) -> list[str]:
    twice = dict.fromkeys(name for name in header if header.count(name) > 1)
    return [f"{path}:1: column {name!r} is there twice; remove one" for name in twice]


def _missing(path: Path, header: Sequence[str]) -> list[str]:
    missing = [name for name in NEEDED if name not in header]
    if not missing:
        return []
    other = text.separator(header[0]) if len(header) == 1 else ""
    if other:
        return [f"{path}:1: no comma, but {other!r} between its columns; save it with commas"]
    wrong = [name for name in header if name not in KNOWN]
    return [f"{path}:1: no column {name!r}{_meant(name, wrong)}" for name in missing]


def _meant(name: str, wrong: Sequence[str]) -> str:
    folded = next((each for each in wrong if each.strip().lower() == name), None)
    near = f"; did you mean {folded!r}?" if folded else suggestion(name, wrong)
    if near:
        return f"{near.removesuffix('?').replace('did you mean', 'is it')}? Then rename that column"
    return f"; it has {', '.join(wrong)}" if wrong else ""


def _boxes(path: Path, header: Sequence[str]) -> list[str]:
    there = [name for name in BOX if name in header]
    missing = [name for name in BOX if name not in header]
    if not there or not missing:
        return []
    return [f"{path}:1: {', '.join(there)} without {', '.join(missing)}; a box has all of {', '.join(BOX)}"]


def _nearly(path: Path, header: Sequence[str]) -> list[str]:
    """Columns that would be passed over although they are meant: ` split`, `Split`, `splt`."""
    absent = [name for name in KNOWN if name not in header and name not in BOX]
    wrong = [name for name in header if name not in KNOWN]
    near = [(name, suggestion(name.strip().lower(), absent)) for name in wrong]
    return [f"{path}:1: unknown column {name!r}{hint}" for name, hint in near if hint]


def split_of_name(path: Path) -> str | None:
    """What a file's name says of its split: `val` for `pills_val-2.csv`; None where it says nothing, or two things."""
    parts = re.split(r"[^a-z]+", path.stem.lower())
    said = {NAMES[part] for part in parts if part in NAMES}
    return said.pop() if len(said) == 1 else None
