"""Many images looked at: quickly in threads, deeply in processes, one of which may die of a file and no harm done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from deploytk.data.checks import pool
from deploytk.data.checks.image_checks import Looked, look_at_all
from deploytk.data.checks.rules import Corrupt, Problem

Listener = Callable[[dict[str, Any]], None]

#: So many images are handed to a process at once.
_BATCH = 32
#: Starting processes takes longer than decoding so few images.
_FEW = 48


def look_at(images: Sequence[Path], *, deep: bool, jobs: int, listen: Listener) -> dict[Path, Looked]:
    """Each image with what was found, in the order given."""
    found: dict[Path, Looked] = {}
    for some in _looked(images, deep, jobs):
        found |= {each.image: each for each in some}
        listen({"done": len(found), "total": len(images), "text": f"{len(found):,} of {len(images):,} images"})
    return {image: found[image] for image in images}


def _looked(images: Sequence[Path], deep: bool, jobs: int) -> Iterator[list[Looked]]:
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    if deep and jobs > 1 and len(images) > _FEW:
        yield from _in_processes(batches, jobs)
        return
    with warnings.catch_warnings():
        pool.quiet()
        with ThreadPoolExecutor(max_workers=jobs) as threads:
            yield from threads.map(partial(look_at_all, deep=deep), batches)


def _in_processes(batches: Sequence[Sequence[Path]], jobs: int) -> Iterator[list[Looked]]:
    """The batches as they are done; the image that its decoder dies of is named, the others are looked at."""
    yield from pool.mapped(partial(look_at_all, deep=True), batches, jobs=jobs, dead=crashed)


def crashed(image: Path) -> Looked:
    """What is said of an image that takes its process with it."""
    said = "the decoder crashed on it"
    return Looked(image=image, problems=(Problem(rule=Corrupt, file=image, said=said),))
