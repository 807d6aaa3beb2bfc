"""The images of a manifest looked at on a Ray cluster, as `checks.pool` does in processes of this machine.

Each node needs deploytk, and the images under the same paths. Without an address (RAY_ADDRESS) a cluster is begun here
for as long as the check takes.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deploytk import plugins
from deploytk.data.checks import pool
from deploytk.data.checks.pool import Function, Item, Result
from deploytk.errors import InputError

#: So many batches wait for each core of the cluster.
_AHEAD = 4
#: A node that is there answers sooner.
_ANSWER_S = 10.0


def mapped(
    function: Function[Item, Result],
    batches: Iterable[Sequence[Item]],
    *,
    jobs: int,
    dead: Callable[[Item], Result],
) -> Iterator[list[Result]]:
    """What `function` gives for each batch, in order, computed by the cluster.

    Args:
        jobs: cores of a cluster that is begun here; one that is there has its own.
        dead: the result of an item that kills its process.

    Raises:
        MissingDependency: Ray is not installed.
        InputError: the cluster cannot be reached.
    """
    with _cluster(jobs) as ray:
        task = ray.remote(max_retries=0)(_quietly)
        ahead = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", jobs)))
        # Once for all tasks: the function travels with each batch otherwise.
        given = ray.put(function)
        left, waiting = iter(batches), deque[tuple[Sequence[Item], Any]]()
        while True:
            for batch in itertools.islice(left, ahead - len(waiting)):
                waiting.append((batch, task.remote(given, batch)))
            if not waiting:
                return
            batch, reference = waiting.popleft()
            yield _result(ray, task, given, batch, dead, reference)


def _result(
    ray: Any, task: Any, given: Any, batch: Sequence[Item], dead: Callable[[Item], Result], reference: Any
) -> list[Result]:
    """What came of a batch; where its process died, of each half."""
    try:
        found: list[Result] = ray.get(reference)
        return found
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
        if len(batch) == 1:
            return [dead(batch[0])]
    middle = len(batch) // 2
    halves = [batch[:middle], batch[middle:]]
    return [r for half in halves for r in _result(ray, task, given, half, dead, task.remote(given, half))]


def _quietly(function: Function[Item, Result], batch: Sequence[Item]) -> list[Result]:
    pool.quiet()
    return function(batch)


def _require_somebody(address: str) -> None:
    """Nothing, where something listens at `address`, as far as it has a port: Ray itself says so after a minute only.

    Raises:
        InputError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise InputError(
            f"RAY_ADDRESS {address}: no Ray cluster can be reached there ({error.strerror or error})"
        ) from error


def _unreachable(address: str, error: Exception) -> InputError:
    return InputError(f"RAY_ADDRESS {address}: no Ray cluster can be reached there ({error})")


@contextmanager
def _cluster(jobs: int) -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS or to one that is begun here and ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers
    ray = plugins.import_or_explain("ray")
    address = os.environ.get("RAY_ADDRESS", "local")
    new = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    _require_somebody(address)
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **new)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()
