"""What a training loop tells about itself, and the answer: go on, stop, or end the segment. One for every backend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploytk.profile import Profile
from deploytk.training import deaths, guard, phases
from deploytk.training.events import Events
from deploytk.training.segments import Ending, Outcome, Segment
from deploytk.training.shelf import Entry, Shelf
from deploytk.training.state import Folder

#: A step is told at most so often; between them a loop pays for a comparison.
_TELL_EVERY_S = 1.0
_ALIVE_EVERY_S = 5.0


class SegmentEnded(Exception):
    """Raised through a backend's loop: the segment is over, and why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Watch:
    """The one thing a loop talks to while it trains a segment.

    A loop calls `phase` when it begins something, `step` after each batch, `epoch` after each epoch, and lets
    `SegmentEnded` pass through; `train_segment` then returns its outcome.
    """

    def __init__(self, profile: Profile, run: Path, segment: Segment, *, precision: str = "") -> None:
        folder = Folder(run=run)
        self.profile, self.segment, self.precision = profile, segment, precision
        self.events = Events(folder.events)
        self.shelf = Shelf(folder.checkpoints, profile.keep)
        self.shelf.cut(segment.first_epoch - 1)
        self._told = -math.inf
        self._phase = ""

    def phase(self, name: str) -> None:
        """Say what begins: load, first_step, step, validate, save, finish. Each has its own time limit."""
        self._phase = name
        self.events.tell("phase", phase=name)

    def alive(self) -> None:
        """A sign of life from within a long phase, told now and then: its time limit begins anew."""
        now = time.monotonic()
        if now - self._told > _ALIVE_EVERY_S:
            self._told = now
            self.phase(self._phase)

    def step(
        self, *, epoch: int, step: int, steps: int, loss: float | Callable[[], float], lr: float | None = None
    ) -> None:
        """After each batch: a sign of life, told at most once a second.

        Args:
            loss: the number, or what gives it: on a GPU it costs a wait, so it is asked only when it is told.

        Raises:
            SegmentEnded: the loss that was looked at is not finite.
        """
        now = time.monotonic()
        if self._phase == "step" and now - self._told < _TELL_EVERY_S:
            return
        if self._phase != "step":  # also after each epoch's validate and save: their limits are others
            self.phase("step")
        self._told = now
        value = loss() if callable(loss) else loss
        self.events.tell("step", epoch=epoch, step=step, steps=steps, loss=value, lr=lr)
        if not math.isfinite(value):
            why = f"the training loss is {value} at step {step} of {steps} in epoch {epoch}"
            self._trouble(guard.Trouble(kind="nan", reason=why), epoch)

    def epoch(self, facts: guard.Facts, save: Callable[[Path], None], **told: Any) -> bool:
        """Judge an epoch, keep its checkpoint, and say whether to stop here (early stopping is an outcome).

        Args:
            save: writes the checkpoint of this epoch to a path; called only where the epoch is healthy.
            told: lr, seconds, memory_mb ...: kept beside the metrics.

        Returns:
            True when the segment's last epoch has been trained.

        Raises:
            SegmentEnded: trouble, early stopping, or a phase rule that acts.
        """
        before = list(self.shelf.entries)
        trouble = guard.judge(facts, before, self.profile.guard)
        if trouble is not None:
            self._trouble(trouble, facts.epoch)
        entry = Entry(
            epoch=facts.epoch,
            file=None,
            fitness=facts.fitness,
            metrics=dict(facts.metrics),
            losses=dict(facts.losses),
            facts={**told, "grad_norm": facts.grad_norm, "imgsz": self.segment.imgsz, "batch": self.segment.batch},
            suspect=guard.suspect(facts, before, self.profile.guard),
        )
        self.phase("save")
        kept = self.shelf.add(entry, save)
        best = self.shelf.best
        self.events.tell(
            "epoch", epoch=facts.epoch, losses=facts.losses, metrics=facts.metrics, fitness=facts.fitness,
            grad_norm=facts.grad_norm, suspect=kept.suspect, **told,
        )  # fmt: skip
        if kept.file:
            self.events.tell("checkpoint", epoch=kept.epoch, file=kept.file, best=kept == best)
        self._wishes(facts)
        self._patience(facts.epoch)
        if facts.epoch < self.segment.last_epoch:
            self.phase("step")  # what goes wrong from here on belongs to the next epoch
        return facts.epoch >= self.segment.last_epoch

    def outcome(self, ended: Ending, reason: str, **more: Any) -> Outcome:
        """How this segment ended, from where training can go on."""
        last = self.shelf.last
        return Outcome(ended=ended, reached=last.epoch if last else 0, reason=reason, precision=self.precision, **more)

    def outcome_of(self, train: Callable[[], object], epoch: Callable[[], int]) -> Outcome:
        """How a segment ended, once `train` has trained it; running out of memory is an outcome too.

        Args:
            epoch: gives the epoch (from 1) that is being trained.
        """
        try:
            train()
        except SegmentEnded as ended:
            return ended.outcome
        except (RuntimeError, MemoryError) as error:
            if not deaths.says_out_of_memory(f"{type(error).__name__}: {error}"):
                raise
            return self.out_of_memory(epoch(), error)
        return self.done()

    def done(self) -> Outcome:
        """The outcome of a segment that was trained to its last epoch."""
        last = self.shelf.entries[-1] if self.shelf.entries else None
        if last and last.suspect and self.segment.last_epoch < self.segment.total_epochs:
            # The next segment would begin by training this epoch again, to the same end.
            why = f"the metric is {last.fitness:.4g} in epoch {last.epoch}, far below the best, before the next size"
            return self.outcome("collapse", why)
        return self.outcome("done", f"trained to epoch {self.segment.last_epoch}")

    def out_of_memory(self, epoch: int, error: BaseException) -> Outcome:
        """The outcome of a segment that ran out of memory."""
        said = str(error).strip().splitlines()
        reason = f"out of memory in epoch {epoch}: {said[0][:300] if said else type(error).__name__}"
        self.events.tell(
            "oom", epoch=epoch, batch=self.segment.batch, accumulate=self.segment.accumulate, reason=reason
        )
        return self.outcome("oom", reason)

    def _trouble(self, trouble: guard.Trouble, epoch: int) -> None:
        self.events.tell(
            "trouble", kind=trouble.kind, epoch=epoch, reason=trouble.reason, evidence=list(trouble.evidence)
        )
        raise SegmentEnded(self.outcome(trouble.kind, trouble.reason, evidence=trouble.evidence))

    def _wishes(self, facts: guard.Facts) -> None:
        """Milestones are told, phase rules advise or act."""
        for told in phases.milestones(self.profile.milestones, facts):
            self.events.tell("milestone", **told)
        for advice in phases.advice(self.profile.rules, self.shelf.entries, self.events.path):
            self.events.tell("advice", **advice)
            if advice["auto"]:
                changes = tuple(sorted(advice["changes"].items()))
                raise SegmentEnded(self.outcome("rule", advice["reason"], changes=changes))

    def _patience(self, epoch: int) -> None:
        patience, best = self.profile.train.patience, self.shelf.best
        if not patience or best is None or epoch - best.epoch < patience:
            return
        why = f"no better epoch since {best.epoch}: stopped early after epoch {epoch} (patience {patience})"
        raise SegmentEnded(self.outcome("early_stop", why))
