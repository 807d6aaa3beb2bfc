"""Batches handed to processes, in order; where one dies of an item, that item is found and the others go on."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from PIL import Image

#: So many batches wait for each process: enough that none is idle, few enough to be cancelled at once.
_AHEAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Sequence[Item]], list[Result]]


def mapped(
    function: Function[Item, Result],
    batches: Iterable[Sequence[Item]],
    *,
    jobs: int,
    dead: Callable[[Item], Result],
) -> Iterator[list[Result]]:
    """What `function` gives for each batch, in order.

    Args:
        function: one result for each item; it and the items travel to other processes.
        dead: the result of an item that kills its process.
    """
    left, waiting = iter(batches), deque[tuple[Sequence[Item], Future[list[Result]]]]()
    pool = _pool(jobs)
    try:
        while True:
            lost: list[Sequence[Item]] = []
            try:
                _hand_out(pool, function, itertools.islice(left, jobs * _AHEAD - len(waiting)), waiting, lost)
                if not waiting:
                    return
                yield waiting[0][1].result()
                waiting.popleft()
            except BrokenProcessPool:
                # All that was in flight is lost with the process that died.
                lost = [*(batch for batch, _ in waiting), *lost]
                waiting.clear()
                pool.shutdown()
                for batch in lost:
                    yield _halved(function, batch, dead)
                pool = _pool(jobs)
    finally:  # stopped by Ctrl-C: what has not begun never does
        pool.shutdown(cancel_futures=True)


def _hand_out(
    pool: ProcessPoolExecutor,
    function: Function[Item, Result],
    batches: Iterable[Sequence[Item]],
    waiting: deque[tuple[Sequence[Item], Future[list[Result]]]],
    lost: list[Sequence[Item]],
) -> None:
    for batch in batches:
        lost[:] = [batch]  # taken from the source already, should handing it out fail
        waiting.append((batch, pool.submit(function, batch)))
        lost.clear()


def _halved(function: Function[Item, Result], batch: Sequence[Item], dead: Callable[[Item], Result]) -> list[Result]:
    """The results of a batch in a process of its own; where it dies, of each half in another."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, batch).result()
        except BrokenProcessPool:
            pass
    if len(batch) == 1:
        return [dead(batch[0])]
    middle = len(batch) // 2
    return [*_halved(function, batch[:middle], dead), *_halved(function, batch[middle:], dead)]


def quiet() -> None:
    """Pillow warns of odd EXIF data; of a bomb it warns too, and that is meant to be an error."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _in_child() -> None:
    # Ctrl-C reaches the whole group; the parent alone says that it was stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet()


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not forked: the parent may have threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_in_child)
