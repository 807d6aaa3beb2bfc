"""Many images looked at: quickly in threads, deeply in processes, one of which may die of a file and no harm done."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from deploytk.data.checks.image_checks import Looked, look
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
        _quiet()
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            yield from pool.map(partial(_batch, deep=deep), batches)


def _batch(images: Sequence[Path], *, deep: bool) -> list[Looked]:
    return [look(image, deep=deep) for image in images]


def _quiet() -> None:
    """Pillow warns of odd EXIF data; of a bomb it warns too, and that is meant to be an error."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _in_child() -> None:
    # Ctrl-C reaches the whole group; the parent alone says that it was stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _quiet()


def _in_processes(batches: Sequence[Sequence[Path]], jobs: int) -> Iterator[list[Looked]]:
    """The batches as they are done; those of a process that died are looked at again, one image at a time."""
    left: list[Sequence[Path]] = []
    with _pool(jobs) as pool:
        waiting: list[tuple[Sequence[Path], Future[list[Looked]]]] = [
            (batch, pool.submit(_batch, batch, deep=True)) for batch in batches
        ]
        try:
            for batch, future in waiting:
                try:
                    yield future.result()
                except BrokenProcessPool:
                    left.append(batch)
        finally:  # stopped by Ctrl-C: what has not begun never does
            for _, future in waiting:
                future.cancel()
    for image in (image for batch in left for image in batch):
        yield [_alone(image)]


def _alone(image: Path) -> Looked:
    """The image, decoded in a process of its own: the one that its decoder dies of is found so."""
    with _pool(1) as pool:
        try:
            return pool.submit(look, image, deep=True).result()
        except BrokenProcessPool:
            said = "the decoder crashed on it"
            return Looked(image=image, problems=(Problem(rule=Corrupt, file=image, said=said),))


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not forked: the parent may have threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_in_child)
