"""All images of a manifest looked at, with how long it will take; what was found, in columns."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deploytk.data.checks import pool
from deploytk.data.checks.looking import Listener
from deploytk.data.checks.rules import RULES, Rule
from deploytk.data.manifests import cluster
from deploytk.data.manifests.memory import Memory
from deploytk.data.manifests.seeing import Known, Seen, died, see

#: So many images are handed to a process at once: half a second of decoding.
_BATCH = 128
#: Starting processes takes longer than looking at so few.
_FEW = {"quick": 2000, "deep": 256}
_BY_CODE: Mapping[str, type[Rule]] = {rule.code: rule for rule in RULES}

Look = Callable[[Sequence[Known]], list[Seen | None]]
#: Runs a function on batches, in order: in this process or in many.
Engine = Callable[[Look, Iterable[Sequence[Known]]], Iterator[list[Seen | None]]]
Name = Literal["processes", "ray"]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What was found in each image; equal indices belong to one image."""

    digests: NDArray[np.uint64]  # (n, 2); zeros where it could not be read
    prints: NDArray[np.uint64]  # (n, 5); zeros without a deep look, and for a picture of one colour
    sizes: NDArray[np.int32]  # (n, 2): width, height as the picture is shown; zeros where they are not known
    problems: Mapping[int, tuple[tuple[type[Rule], str], ...]]  # of the images that have any
    remembered: int  # images that were not looked at again

    def unusable(self, image: int) -> bool:
        """Whether a training cannot read an image."""
        return any(rule.severity == "error" for rule, _ in self.problems.get(image, ()))


def look_at(
    images: Sequence[str], *, deep: bool, jobs: int, memory: Memory, listen: Listener, engine: Name = "processes"
) -> Looks:
    """What was found in each of the images, in their order.

    Args:
        jobs: processes.
        engine: where they run: on this machine, or on a Ray cluster.
        memory: what was seen before; what is seen now is kept there as it comes.
    """
    digests, prints = np.zeros((len(images), 2), np.uint64), np.zeros((len(images), 5), np.uint64)
    sizes = np.zeros((len(images), 2), np.int32)
    problems: dict[int, tuple[tuple[type[Rule], str], ...]] = {}
    pace, remembered = _Pace(len(images), listen), 0
    for start, seen, known in _seen(images, deep, _engine(engine, len(images), deep, jobs), memory):
        remembered += known
        for number, each in enumerate(seen, start):
            if each.digest:
                digests[number] = np.frombuffer(each.digest, np.uint64)
            if each.print:
                prints[number] = np.frombuffer(each.print, np.uint64)
            sizes[number] = each.width, each.height
            if each.problems:
                problems[number] = tuple((_BY_CODE[code], said) for code, said in each.problems)
        pace.tell(start + len(seen))
    return Looks(digests=digests, prints=prints, sizes=sizes, problems=problems, remembered=remembered)


def _seen(images: Sequence[str], deep: bool, engine: Engine, memory: Memory) -> Iterator[tuple[int, list[Seen], int]]:
    """(index of the first, what was seen in a batch, how many of it were remembered)."""
    before: deque[dict[str, Seen]] = deque()

    def batches() -> Iterator[list[Known]]:
        for start in range(0, len(images), _BATCH):
            paths = images[start : start + _BATCH]
            before.append(memory.known(paths))
            yield [Known(path, *before[-1][path][:2]) if path in before[-1] else Known(path) for path in paths]

    start = 0
    for found in engine(partial(see, deep=deep), batches()):
        known, paths = before.popleft(), images[start : start + len(found)]
        memory.keep([(path, each) for path, each in zip(paths, found, strict=True) if each is not None])
        yield start, [each or known[path] for path, each in zip(paths, found, strict=True)], found.count(None)
        start += len(found)


def _engine(name: Name, images: int, deep: bool, jobs: int) -> Engine:
    if name == "ray":
        return partial(cluster.mapped, jobs=jobs, dead=died)
    if jobs == 1 or images <= _FEW["deep" if deep else "quick"]:
        return _here
    return partial(pool.mapped, jobs=jobs, dead=died)


def _here(function: Look, batches: Iterable[Sequence[Known]]) -> Iterator[list[Seen | None]]:
    with warnings.catch_warnings():
        pool.quiet()
        for batch in batches:
            yield function(batch)


class _Pace:
    """How far it is, how fast it goes, and how long it will take."""

    def __init__(self, total: int, listen: Listener) -> None:
        self._total, self._listen, self._started = total, listen, time.monotonic()

    def tell(self, done: int) -> None:
        """Say it."""
        passed = time.monotonic() - self._started
        text = f"{done:,} of {self._total:,} images"
        if passed > 1 and done < self._total:
            rate = done / passed
            text += f", {rate:,.0f} per second, {_duration((self._total - done) / rate)} left"
        self._listen({"done": done, "total": self._total, "text": text})


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
