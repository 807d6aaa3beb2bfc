"""Requests as MLPerf's scenarios send them: single-stream, multi-stream, offline and server (Poisson arrivals).

A server is an open loop: the arrivals are drawn before the run, and a latency is counted from the arrival that was
drawn, never from when somebody had time for it. A model that stalls makes everybody behind wait, and the samples say
so (no coordinated omission). What each scenario means: docs/load.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from deploytk import timing
from deploytk.pacing import Clock, MachineClock, Outlook
from deploytk.timing import Run

#: A closed loop ends after so many requests; more say nothing new and would fill the memory.
MOST_REQUESTS = 200_000
#: Every so many requests a server looks whether its queue grows without bound.
_LOOK_EVERY = 32
#: And not before this time, in ns: a slow first call says nothing.
_PATIENCE_NS = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class Load:
    """What happened to each request, in the order of arrival; times in ns since the run began (int64).

    `arrived_ns` holds every request that arrived; `began_ns` and `ended_ns` hold those that were served, which are the
    first ones. `waited` says which of these found their worker waiting for them: their queue time is the tool's own
    lateness.
    """

    arrived_ns: np.ndarray
    began_ns: np.ndarray
    ended_ns: np.ndarray
    waited: np.ndarray
    items: int  # in one request
    workers: int

    @property
    def latency_ms(self) -> np.ndarray:
        """From arrival to end."""
        return _ms(self.ended_ns, self.arrived_ns[: self.served])

    @property
    def queue_ms(self) -> np.ndarray:
        """From arrival to the begin of the call."""
        return _ms(self.began_ns, self.arrived_ns[: self.served])

    @property
    def service_ms(self) -> np.ndarray:
        """The call itself."""
        return _ms(self.ended_ns, self.began_ns)

    @property
    def late_ms(self) -> np.ndarray:
        """How late the tool itself began requests for which a worker was waiting."""
        return np.asarray(self.queue_ms[self.waited])

    @property
    def served(self) -> int:
        """How many requests were served."""
        return int(self.began_ns.size)

    @property
    def elapsed_s(self) -> float:
        """From the begin of the run to the end of the last request served."""
        return float(self.ended_ns.max()) / 1e9 if self.served else 0.0

    @property
    def achieved_per_s(self) -> float:
        """Requests served in each second of the run."""
        return self.served / self.elapsed_s if self.served else 0.0

    @property
    def capacity_per_s(self) -> float:
        """Requests per second that the workers serve when none of them ever waits."""
        mean_ms = float(self.service_ms.mean()) if self.served else 0.0
        return 1000.0 * self.workers / mean_ms if mean_ms > 0 else 0.0

    @property
    def longest_queue(self) -> int:
        """The most requests that had arrived and not begun, seen whenever one began or the last one arrived."""
        if not self.arrived_ns.size:
            return 0
        seen = np.append(self.began_ns, self.arrived_ns[-1:] if self.unserved else self.began_ns[:0])
        arrived = np.searchsorted(self.arrived_ns, seen, side="right")
        begun = np.searchsorted(np.sort(self.began_ns), seen, side="right")
        return int(max(0, (arrived - begun).max(initial=0)))

    @property
    def unserved(self) -> int:
        """How many requests were still in the queue when the run was stopped."""
        return int(self.arrived_ns.size) - self.served

    @property
    def overloaded(self) -> bool:
        """Whether the run was stopped because its queue grew without bound."""
        return self.unserved > 0


def _ms(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    return np.asarray((later - earlier) / 1e6)


def poisson_arrivals(qps: float, duration_s: float, seed: int) -> np.ndarray:
    """Arrivals in ns from 0 on, `qps` x `duration_s` of them (at least 1), with exponential gaps of mean 1 / `qps`."""
    count = max(1, round(qps * duration_s))
    gaps_s = np.random.default_rng(seed).exponential(1.0 / qps, count)
    return np.round(np.cumsum(gaps_s) * 1e9).astype(np.int64)


def grows_without_bound(waiting: int, arrived: int) -> bool:
    """Whether a queue is longer than chance makes it while the model keeps up.

    The number of Poisson arrivals in a time scatters by its square root. A model that is just as fast as they come
    therefore has a queue of up to three times that in 997 of 1000 runs.
    """
    return waiting > 3 * float(np.sqrt(arrived)) and waiting > 10


def single_stream(run: Run, *, duration_s: float, batch: int = 1, clock: Clock | None = None) -> Load:
    """One request after another: the next arrives when the last has ended.

    Raises:
        WrongOutput: an output cannot be right.
    """
    return multi_stream([run], duration_s=duration_s, streams=batch, batch=batch, clock=clock)


def multi_stream(
    runs: Sequence[Run],
    *,
    duration_s: float,
    streams: int = 8,
    batch: int = 8,
    clock: Clock | None = None,
) -> Load:
    """Queries of `streams` items, the next when the last has ended, as `streams` / `batch` calls dealt to the workers.

    Raises:
        WrongOutput: an output cannot be right.
    """
    clock = clock or MachineClock()
    parts = streams // batch
    if parts * batch != streams:
        raise ValueError(f"{streams} streams are no multiple of the batch size {batch}")
    team = _Team(runs, batch, clock)
    began: list[int] = []
    ended: list[int] = []
    with timing.no_garbage_collection():
        zero = clock.now()
        until = zero + round(duration_s * 1e9)
        while len(began) < MOST_REQUESTS and (clock.now() < until or not began):
            start, end = team.run(range(len(began) * parts, (len(began) + 1) * parts))
            began.append(start - zero)
            ended.append(end - zero)
            team.look()
        team.end()
    starts = np.array(began, np.int64)
    return Load(
        arrived_ns=starts,
        began_ns=starts,
        ended_ns=np.array(ended, np.int64),
        waited=np.zeros(len(began), bool),
        items=streams,
        workers=1,  # a query has all of them
    )


class _Team:
    """Runs the parts of a query on all workers at once; one worker needs no thread."""

    def __init__(self, runs: Sequence[Run], batch: int, clock: Clock) -> None:
        self._runs, self._clock = runs, clock
        self._outlooks = [Outlook(batch, clock) for _ in runs]
        self._pool = ThreadPoolExecutor(len(runs)) if len(runs) > 1 else None

    def run(self, turns: range) -> tuple[int, int]:
        """(begin, end) of the whole query in ns."""
        start = self._clock.now()
        if self._pool is None:
            self._share(0, turns)
        else:
            workers = range(len(self._runs))
            list(self._pool.map(self._share, workers, [turns[w :: len(self._runs)] for w in workers]))
        return start, self._clock.now()

    def _share(self, worker: int, turns: range) -> None:
        for turn in turns:
            self._outlooks[worker].take(self._runs[worker](turn))

    def look(self) -> None:
        """Look at the outputs of each worker, if it is time to."""
        for outlook in self._outlooks:
            outlook.look()

    def end(self) -> None:
        """Look at the last outputs of each worker, and let the threads go."""
        if self._pool:
            self._pool.shutdown()
        for outlook in self._outlooks:
            outlook.last()


def offline(runs: Sequence[Run], *, duration_s: float, batch: int, clock: Clock | None = None) -> Load:
    """All samples are there from the begin; each worker takes a batch as soon as it has none, until time is over.

    The arrival told for each call is when its worker took it, so that a latency is the time of one call.

    Raises:
        WrongOutput: an output cannot be right.
    """
    clock = clock or MachineClock()
    rows: list[tuple[int, int, int]] = []
    zero = clock.now()
    until = zero + round(duration_s * 1e9)

    def worker(index: int, run: Run) -> Callable[[], None]:
        def work() -> None:
            outlook, done = Outlook(batch, clock), 0
            while len(rows) < MOST_REQUESTS and (clock.now() < until or not done):
                began = clock.now()
                outlook.take(run(index + done * len(runs)))
                ended = clock.now()
                rows.append((began - zero, ended - zero, 0))
                done += 1
                outlook.look()
            outlook.last()

        return work

    with timing.no_garbage_collection():
        _in_threads([worker(index, run) for index, run in enumerate(runs)])
    table = np.array(sorted(rows), np.int64)
    return Load(
        arrived_ns=table[:, 0],
        began_ns=table[:, 0],
        ended_ns=table[:, 1],
        waited=np.zeros(len(rows), bool),
        items=batch,
        workers=len(runs),
    )


def server(
    runs: Sequence[Run],
    arrivals_ns: np.ndarray,
    *,
    batch: int = 1,
    clock: Clock | None = None,
) -> Load:
    """Requests at the times `arrivals_ns` (ns from the begin), first come first served by as many workers as `runs`.

    A free worker takes the next request and waits for its arrival, so there is no generator that could be late
    unseen: whatever makes a request begin after its arrival is in its latency. The run is stopped when its queue
    grows without bound; the requests then in it are `unserved`.

    Raises:
        WrongOutput: an output cannot be right.
    """
    clock = clock or MachineClock()
    hall = _Hall(arrivals_ns, batch, len(runs), clock)
    with timing.no_garbage_collection():
        hall.zero = clock.now()
        _in_threads([hall.worker(run) for run in runs])
    table = np.array(sorted(hall.rows), np.int64).reshape(-1, 4)
    arrived = len(arrivals_ns) if len(table) == len(arrivals_ns) else max(len(table), hall.arrived)
    return Load(
        arrived_ns=arrivals_ns[:arrived],
        began_ns=table[:, 1],
        ended_ns=table[:, 2],
        waited=table[:, 3].astype(bool),
        items=batch,
        workers=len(runs),
    )


class _Hall:
    """Where the requests of a server wait, and the workers that serve them."""

    def __init__(self, arrivals_ns: np.ndarray, batch: int, workers: int, clock: Clock) -> None:
        self.due = arrivals_ns.tolist()
        self.rows: list[tuple[int, int, int, int]] = []  # index, begin, end, whether the worker waited
        self.arrived = 0  # when the run was stopped
        self.zero = 0
        self._arrivals_ns, self._batch, self._workers, self._clock = arrivals_ns, batch, workers, clock
        self._lock = threading.Lock()
        self._next = 0

    def worker(self, run: Run) -> Callable[[], None]:
        """What one worker does until there are no more requests."""

        def work() -> None:
            outlook = Outlook(self._batch, self._clock)
            index = self._take()
            while index is not None:
                arrival = self.zero + self.due[index]
                outlook.look(until=arrival)
                waits = self._clock.now() < arrival
                self._clock.wait_until(arrival)
                began = self._clock.now()
                outlook.take(run(index))
                self.rows.append((index, began - self.zero, self._clock.now() - self.zero, int(waits)))
                index = self._take()
            outlook.last()

        return work

    def _take(self) -> int | None:
        """The next request, None where there is none or the queue has grown without bound."""
        with self._lock:
            index = self._next
            if index == len(self.due) or self.arrived:
                return None
            all_arrived = self._clock.now() - self.zero >= self.due[-1]
            if (index % _LOOK_EVERY == 0 or all_arrived) and self._lost(index):
                return None
            self._next += 1
            return index

    def _lost(self, index: int) -> bool:
        """Whether to stop: the queue has grown without bound, and either all have arrived or most are waiting."""
        now = self._clock.now() - self.zero
        arrived = int(np.searchsorted(self._arrivals_ns, now, side="right"))
        waiting, all_arrived = arrived - index, arrived == len(self.due)
        hopeless = waiting > max(100, index) and now > _PATIENCE_NS
        if (all_arrived or hopeless) and grows_without_bound(waiting, arrived):
            service_ns = np.array([end - began for _, began, end, _ in self.rows])
            # One long stall lowers the mean for good; while requests still come, the typical call has to be too slow.
            usual = float(np.mean(service_ns) if all_arrived else min(np.mean(service_ns), np.median(service_ns)))
            if arrived / self.due[arrived - 1] > self._workers / usual:
                self.arrived = arrived
        return self.arrived > 0


def _in_threads(works: Sequence[Callable[[], None]]) -> None:
    """Do each of `works` in a thread of its own, a single one in this one; the first exception comes out again."""
    if len(works) == 1:
        works[0]()
        return
    failed: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # it is raised again in the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
