"""What stands in the image files of a manifest: one function for a batch of paths, to be run in any process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from deploytk.data.checks.image_checks import Looked, look_at_all
from deploytk.data.checks.looking import crashed


class Known(NamedTuple):
    """A path, and the size and time its file had when it was last looked at; -1 where it never was."""

    path: str
    size: int = -1
    mtime_ns: int = -1


class Seen(NamedTuple):
    """What was found in a file, small enough to keep half a million of them."""

    size: int  # of the file, -1 where there is none
    mtime_ns: int
    digest: bytes = b""  # 16 bytes of its content
    print: bytes = b""  # what it looks like: `likeness`
    width: int = 0  # as the picture is shown
    height: int = 0
    problems: tuple[tuple[str, str], ...] = ()  # (code of the rule, what is said)


def see(batch: Sequence[Known], *, deep: bool) -> list[Seen | None]:
    """What stands in each file; None where it is as it was known."""
    # Before it is read: a file that is changed meanwhile is looked at again next time.
    stats = [_stat(known.path) for known in batch]
    changed = [stat[0] < 0 or stat != known[1:] for known, stat in zip(batch, stats, strict=True)]
    found = iter(look_at_all((Path(known.path) for known in compress(batch, changed)), deep=deep))
    return [_seen(*stat, next(found)) if new else None for stat, new in zip(stats, changed, strict=True)]


def died(known: Known) -> Seen | None:
    """What is said of a file that takes its process with it."""
    size, mtime_ns = _stat(known.path)
    return _seen(size, mtime_ns, crashed(Path(known.path)))


def _stat(path: str) -> tuple[int, int]:
    try:
        told = os.stat(path)  # noqa: PTH116 - a Path takes longer than the call
    except (OSError, ValueError):
        return -1, -1
    return told.st_size, told.st_mtime_ns


def _seen(size: int, mtime_ns: int, found: Looked) -> Seen:
    width, height = found.size or (0, 0)
    problems = tuple((p.rule.code, p.said) for p in found.problems)
    return Seen(size, mtime_ns, found.digest, found.print, width, height, problems)
