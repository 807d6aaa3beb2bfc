"""The process of one segment: started, listened to, and each way it can die made into an outcome."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.errors import StepFailed
from deploytk.profile import Profile
from deploytk.stages import train_errors
from deploytk.stages.run_folder import RunFolder
from deploytk.training import deaths
from deploytk.training.events import Events
from deploytk.training.segments import Outcome, Segment, as_dict, outcome_from
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder
from deploytk.training.supervisor import Hopeless
from deploytk.worker import Listener


class Ear:
    """What is heard from a segment's process: passed on, and its phase, the memory and the disk kept in view."""

    def __init__(self, run: Path, events: Events, listen: Listener | None) -> None:
        self.checkpoints, self.events, self.listen = Folder(run=run).checkpoints, events, listen
        self.memory, self.phase = deaths.Memory(), "load"
        self.warned = False

    def heard(self, event: dict[str, Any]) -> None:
        """Note one event. Nothing is raised: it is heard in the thread that reads them."""
        with contextlib.suppress(OSError):
            self.memory.look()
            if event.get("event") == "phase":
                self.phase = str(event.get("phase"))
            if event.get("event") == "checkpoint":
                self.disk(self.checkpoints / str(event["file"]))
        if self.listen is not None:
            self.listen(event)

    def tell(self, event: str, **fields: Any) -> None:
        """Put an event of the parent's own into the stream."""
        self.events.tell(event, **fields)
        if self.listen is not None:
            self.listen({"event": event, "time": time.time(), **fields})

    def disk(self, checkpoint: Path) -> None:
        """Warn, once, where the disk has no room for one more like this checkpoint."""
        needed, free = checkpoint.stat().st_size, deaths.free_bytes(self.checkpoints)
        if free < needed and not self.warned:
            self.warned = True
            short = f"only {megabytes(free)} are free in {self.checkpoints}, and one more checkpoint needs"
            self.tell("warning", reason=f"{short} {megabytes(needed)}")


class Child:
    """Starts the process of each segment (a `supervisor.Launch`)."""

    def __init__(self, profile: Profile, run: RunFolder, listen: Listener | None) -> None:
        self.profile, self.run = profile, run
        self.folder = Folder(run=run.path)
        self.ear = Ear(run.path, Events(self.folder.events), listen)
        self.until = time.monotonic() + profile.train.timeout_s

    def __call__(self, segment: Segment, number: int) -> Outcome:
        """How the segment ended.

        Raises:
            Hopeless: it would end so again.
            DeploytkError: the process refused to train it.
        """
        self.ear.memory, self.ear.phase = deaths.Memory(), "load"
        for largest in sorted(self._checkpoints(), key=lambda path: path.stat().st_size)[-1:]:
            self.ear.disk(largest)
        try:
            return outcome_from(self._called(segment, number))
        except StepFailed as error:
            outcome = self._died(error)
            train_errors.note(self.run, self.profile, error, outcome, self.ear.phase)
            if self._hopeless(error):
                raise Hopeless(outcome) from error
            return outcome

    def _called(self, segment: Segment, number: int) -> dict[str, Any]:
        limits = self.profile.limits
        told: dict[str, Any] = worker.call(
            "deploytk.stages.steps:train_segment",
            {
                "profile": self.profile.model_dump(mode="json", by_alias=True),
                "run": str(self.run.path),
                "segment": as_dict(segment),
            },
            logs=self.run.logs,
            name=f"train_{number:02d}",
            timeout_s=max(0.0, self.until - time.monotonic()),
            listen=self.ear.heard,
            silence_s={
                "load": limits.load_s,
                "first_step": limits.first_step_s,
                # From the first step on it is one limit: between two signs of life.
                **dict.fromkeys(("step", "validate", "save"), limits.step_s),
            },
        )
        return told

    def _died(self, error: StepFailed) -> Outcome:
        ended, reason = deaths.how(error, self.ear.memory, self.ear.phase)
        shelf = Shelf(self.folder.checkpoints, self.profile.keep)
        kept = shelf.last.epoch if shelf.last else 0
        if self._disk_full(error):
            free = megabytes(deaths.free_bytes(self.folder.checkpoints))
            reason = f"the disk is full: {free} are free in {self.folder.checkpoints} ({error.cause})"
        if ended == "timeout":
            reason = f"{reason} ({self._limit()})"
        return Outcome(ended=ended, reached=kept, reason=reason)

    def _limit(self) -> str:
        """The key of the profile that says how long it might take."""
        if time.monotonic() >= self.until:
            return "train.timeout_s"
        return f"limits.{self.ear.phase if self.ear.phase in ('load', 'first_step') else 'step'}_s"

    def _disk_full(self, error: StepFailed) -> bool:
        sizes = [path.stat().st_size for path in self._checkpoints()]
        return deaths.says_disk_full(error.cause, self.folder.checkpoints, max(sizes, default=1 << 20))

    def _checkpoints(self) -> list[Path]:
        return list(self.folder.checkpoints.glob("epoch_*.pt"))

    def _hopeless(self, error: StepFailed) -> bool:
        return self._disk_full(error) or time.monotonic() >= self.until


def megabytes(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e6:,.1f} MB"
