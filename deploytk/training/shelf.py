"""The checkpoints of a training and metadata.json, a row for each epoch; one rotation policy for all backends."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.files import plain, write_json, written_whole
from deploytk.profile_training import Keep


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One trained epoch. `file` is None where its checkpoint was rotated away."""

    epoch: int
    file: str | None
    fitness: float | None  # what the best is chosen by: higher is better
    metrics: dict[str, float | None] = field(default_factory=dict)
    losses: dict[str, float | None] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)  # lr, imgsz, batch, seconds, ...
    suspect: bool = False  # trained while the metric was collapsing: never the best, never gone on from
    pick: str = ""  # what sweet spot chose it: never rotated away


class Shelf:
    """The checkpoints in a folder. What a killed process left half-done is put right when it is opened."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        self.folder, self.keep = folder, keep
        self.entries: list[Entry] = _reconciled(folder, entries_in(folder))

    @property
    def last(self) -> Entry | None:
        """The entry that training goes on from: the last healthy one with a checkpoint."""
        return next((e for e in reversed(self.entries) if e.file and not e.suspect), None)

    @property
    def best(self) -> Entry | None:
        """What `best_of` says of them."""
        return best_of(self.entries)

    def path(self, entry: Entry) -> Path:
        """Where the checkpoint of an entry lies."""
        if entry.file is None:
            raise InputError(f"the checkpoint of epoch {entry.epoch} is not kept; keep more with keep.at_most")
        return self.folder / entry.file

    def add(self, entry: Entry, save: Callable[[Path], None]) -> Entry:
        """The entry, its checkpoint written unless it is suspect, in place of all from that epoch on; others rotate.

        Args:
            save: writes the checkpoint to the path it is given.
        """
        kept = entry
        if not entry.suspect:
            kept = replace(entry, file=f"epoch_{entry.epoch:04d}.pt")
            with written_whole(self.path(kept)) as temporary:
                save(temporary)
        self.entries = [e for e in self.entries if e.epoch < entry.epoch] + [kept]
        self._rotate()
        return kept

    def cut(self, reached: int) -> None:
        """Forget every epoch after `reached`: training goes on from there."""
        self.entries = [e for e in self.entries if e.epoch <= reached]
        self._write()

    def pick(self, epochs: Sequence[int], why: str) -> None:
        """Keep the checkpoints of `epochs` for good, as the picks of `why` in place of its earlier ones."""
        released = [replace(e, pick="") if e.pick == why else e for e in self.entries]
        self.entries = [replace(e, pick=why) if e.epoch in epochs else e for e in released]
        self._rotate()

    def _rotate(self) -> None:
        """Drop what the policy does not keep, the oldest first: the table first, then the files."""
        best, last = self.best, self.last
        always = {e.epoch for e in (best, last) if e}
        always |= {e.epoch for e in self.entries if e.pick}
        regular = [e.epoch for e in self.entries if e.file and e.epoch % self.keep.every == 0]
        stay = always | set(regular[-self.keep.at_most :]) | {self.entries[-1].epoch}
        self.entries = [e if e.epoch in stay else replace(e, file=None) for e in self.entries]
        self._write()

    def _write(self) -> None:
        write_json(self.folder / "metadata.json", plain([asdict(e) for e in self.entries]))
        _sweep(self.folder, self.entries)


def best_of(entries: Sequence[Entry]) -> Entry | None:
    """The healthy one with the highest fitness whose checkpoint is there; the last of equal ones.

    Where images have grown, only of those with the last size: fitness at another size is no comparison.
    """
    healthy = [e for e in reversed(entries) if e.file and not e.suspect and e.fitness is not None]
    sized = [e for e in healthy if e.facts.get("imgsz") == healthy[0].facts.get("imgsz")]
    return max(sized, key=lambda e: e.fitness or 0.0, default=None)


def entries_in(folder: Path) -> list[Entry]:
    """The entries in a folder's metadata.json, none where there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "metadata.json"
    try:
        return [Entry(**told) for told in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); give another --out, or train anew with --restart") from error


def _reconciled(folder: Path, entries: list[Entry]) -> list[Entry]:
    """The entries with `file` only where it is there; a checkpoint that never came into the table is removed."""
    _sweep(folder, entries)
    return [e if e.file is None or (folder / e.file).is_file() else replace(e, file=None) for e in entries]


def _sweep(folder: Path, entries: Sequence[Entry]) -> None:
    known = {e.file for e in entries}
    for path in folder.glob("epoch_*.pt"):
        if path.name not in known:
            path.unlink(missing_ok=True)
