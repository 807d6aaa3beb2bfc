"""Whether the loader keeps up with the network: what each epoch has waited for images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from deploytk import usage
from deploytk.profile_training import Train
from deploytk.report import Finding
from deploytk.training.shelf import Entry

#: The share of its time that a training may wait for images without a word.
_WORTH_TELLING = 0.2
#: An epoch of less says little: the first batches of each wait for the workers to begin.
_LEAST_S = 1.0
#: How long the beginning is looked at.
_START_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Medians over the epochs, in images per second of one process; the first epoch starts the workers."""

    images_per_s: float  # as they were trained on
    steps_per_s: float  # images, were they there at once
    waited: float  # share of the time


def pace(entries: Sequence[Entry]) -> Pace | None:
    """How fast it went, None where no epoch was long enough to say."""
    told = [e.facts for e in entries[1:] or entries if (e.facts.get("trained_s") or 0.0) >= _LEAST_S]
    if not told:
        return None
    return Pace(
        images_per_s=statistics.median(f["images"] / f["trained_s"] for f in told),
        steps_per_s=statistics.median(f["images"] / max(1e-3, f["trained_s"] - f["waited_s"]) for f in told),
        waited=statistics.median(f["waited_s"] / f["trained_s"] for f in told),
    )


class Start:
    """The first seconds of a training looked at: whoever trains for a night is told now that it waits for images."""

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None
        self._images = 0

    def after(self, step: int, *, waited_s: float) -> Pace | None:
        """How fast it has gone, once, `_START_S` after the first step; its wait is that for the workers' start.

        Args:
            step: how many images this process has had in it.
            waited_s: since the epoch began.
        """
        now = time.monotonic()
        if self._begun is None:
            self._begun = (now, waited_s)
            return None
        self._images += step
        spent, waited = now - self._begun[0], waited_s - self._begun[1]
        if spent < _START_S:
            return None
        per_s, steps = self._images / spent, self._images / max(1e-3, spent - waited)
        return Pace(images_per_s=per_s, steps_per_s=steps, waited=waited / spent)


def findings(found: Pace | None, train: Train) -> list[Finding]:
    """A warning where the network waits for its images."""
    if found is None or found.waited < _WORTH_TELLING:
        return []
    message = (
        f"the loader is too slow: {found.waited:.0%} of the time went into waiting for images "
        f"({found.images_per_s:.0f} images/s; the steps alone would take {found.steps_per_s:.0f})"
    )
    return [Finding(rule="TRN004", severity="warning", where="train.workers", message=message, fix=_remedy(train))]


def _remedy(train: Train) -> str:
    free = usage.cores() // len(train.devices)
    if train.workers < free:
        return f"use workers: {free}, or smaller files"
    return "use smaller files (JPEGs no larger than about twice imgsz), or a faster disk: there are no more cores"
