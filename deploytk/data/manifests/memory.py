"""What was seen in image files before, in a SQLite file: a check that was stopped goes on where it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from deploytk.data.checks.image_checks import digest_of, strict_decoder
from deploytk.data.manifests.seeing import Seen
from deploytk.errors import InputError

_TABLE = """CREATE TABLE IF NOT EXISTS seen (
    path TEXT, tier TEXT, size INTEGER, mtime_ns INTEGER, digest BLOB, print BLOB, width INTEGER, height INTEGER,
    problems TEXT, PRIMARY KEY (path, tier)) WITHOUT ROWID"""
_FOUND = "SELECT path, size, mtime_ns, digest, print, width, height, problems FROM seen WHERE tier = ? AND path IN ({})"
_KEEP = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Memory:
    """What is remembered of files; nothing where it has no place to be kept in."""

    def __init__(self, connection: sqlite3.Connection | None, tier: str) -> None:
        self._connection, self._tier = connection, tier

    def known(self, paths: Sequence[str]) -> dict[str, Seen]:
        """What was seen in the files that are remembered."""
        if self._connection is None:
            return {}
        query = _FOUND.format(", ".join("?" * len(paths)))
        return {row[0]: _seen(row[1:]) for row in self._connection.execute(query, (self._tier, *paths))}

    def keep(self, seen: Sequence[tuple[str, Seen]]) -> None:
        """Remember what was seen; a file that is not there is looked for again."""
        if self._connection is None:
            return
        rows = [(path, self._tier, *s[:6], json.dumps(s.problems)) for path, s in seen if s.size >= 0]
        with self._connection:
            self._connection.executemany(_KEEP, rows)


@contextmanager
def opened(path: Path | None, *, deep: bool) -> Iterator[Memory]:
    """The memory kept in the file `path`; without one nothing is remembered.

    Raises:
        InputError: the file is something else.
    """
    if path is None:
        yield Memory(None, "")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path)
        # After a power cut the last seconds may be missing; never is half a row there.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
    except sqlite3.Error as error:
        raise InputError(f"{path}: no memory of a data check ({error}); remove it, or name another --cache") from error
    try:
        yield Memory(connection, tier_of(deep=deep))
    finally:
        connection.close()


def tier_of(*, deep: bool) -> str:
    """How closely files are looked at, and by which versions: what another one saw does not count."""
    decoder = f"simplejpeg {metadata.version('simplejpeg')}" if deep and strict_decoder() else "pillow"
    return f"{'deep' if deep else 'quick'}, {decoder}, {digest_of().__name__}, deploytk {metadata.version('deploytk')}"


def _seen(row: tuple[int, int, bytes, bytes, int, int, str]) -> Seen:
    problems = tuple((str(code), str(said)) for code, said in json.loads(row[6]))
    return Seen(*row[:6], problems)
