"""When requests begin, and when outputs are looked at: a clock that can wait, and looks that cost little."""

from __future__ import annotations

import time
from typing import Protocol

from deploytk import timing
from deploytk.timing import Outputs

#: The share of the time that may be spent on looking at outputs.
_LOOK_SHARE = 0.05
#: The last stretch before an arrival is spent awake: a sleep ends about 0.1 ms late.
_AWAKE_NS = 200_000


class Clock(Protocol):
    """Time in ns, and how to wait for it: the machine's, or a simulated one in tests."""

    def now(self) -> int:
        """The time in ns."""
        ...

    def wait_until(self, at: int) -> None:
        """Come back at the time `at` in ns, or at once where it has passed."""
        ...


class MachineClock:
    """`perf_counter_ns`, and a sleep whose last 0.2 ms are spent awake."""

    def now(self) -> int:
        """The time in ns."""
        return time.perf_counter_ns()

    def wait_until(self, at: int) -> None:
        """Come back at the time `at` in ns."""
        left = at - time.perf_counter_ns() - _AWAKE_NS
        if left > 0:
            time.sleep(left / 1e9)
        while time.perf_counter_ns() < at:
            time.sleep(0)  # lets the other workers have Python


class WrongOutput(Exception):
    """An output cannot be right; the message is the reason."""


class Outlook:
    """Looks at outputs as often as that takes at most 5 % of the time, and at the last one in any case."""

    def __init__(self, batch: int, clock: Clock) -> None:
        self._batch, self._clock = batch, clock
        self._cost = 0
        self._next = clock.now()
        self._unseen: Outputs | None = None

    def take(self, outputs: Outputs) -> None:
        """Keep the outputs of a call for a later look."""
        self._unseen = outputs

    def look(self, until: int | None = None) -> None:
        """Look, if it is time to and that will be over by the time `until` (ns).

        Raises:
            WrongOutput: they cannot be right.
        """
        now = self._clock.now()
        if now >= self._next and (until is None or now + 2 * self._cost < until):
            self.last(now)

    def last(self, now: int | None = None) -> None:
        """Look at the outputs taken last.

        Raises:
            WrongOutput: they cannot be right.
        """
        if self._unseen is None:
            return
        began = self._clock.now() if now is None else now
        reason = timing.wrong_outputs(self._unseen, self._batch)
        self._unseen = None
        ended = self._clock.now()
        self._cost = ended - began
        self._next = ended + round(self._cost / _LOOK_SHARE)
        if reason:
            raise WrongOutput(reason)
