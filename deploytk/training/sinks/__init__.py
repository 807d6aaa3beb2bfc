"""Where a training is told beside its own files: one module per service, each in a thread that may fail alone."""

from __future__ import annotations

import importlib
import importlib.util
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from deploytk import plugins
from deploytk.profile import Profile
from deploytk.profile_training import Track
from deploytk.report import Finding
from deploytk.training import events, story
from deploytk.training.state import Folder
from deploytk.worker import Listener

#: Key of `track` in a profile -> (the library it needs, the module here).
_TABLE = {
    "tensorboard": ("tensorboardX", "deploytk.training.sinks.tensorboard"),
    "mlflow": ("mlflow", "deploytk.training.sinks.mlflow"),
}
#: How long the end of a training waits for a service that is slow.
_PATIENCE_S = 10.0


class Sink(Protocol):
    """What a module here opens with `Sink(profile, run)`."""

    #: Whether it knows nothing yet of the epochs that stand in events.jsonl.
    fresh: bool

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Take in the numbers of an epoch."""

    def cut(self, first: int) -> None:
        """From epoch `first` on it is trained anew."""

    def note(self, epoch: int, text: str) -> None:
        """Take in a sentence."""

    def close(self) -> None:
        """Write out what is left."""


def preflight(track: Track) -> list[Finding]:
    """An error for each library that is asked for and not installed."""
    return [
        Finding(
            rule="PRE001",
            severity="error",
            where=f"track.{name}",
            message=f"{library} is not installed",
            fix=f"install it with: pip install 'deploytk[{plugins.EXTRAS[library]}]'",
        )
        for name, (library, _) in _TABLE.items()
        if _asked(track, name) and importlib.util.find_spec(library) is None
    ]


@contextmanager
def told_too(profile: Profile, run: Path, listen: Listener | None) -> Iterator[Listener | None]:
    """A listener that passes events on to `listen` and to what the profile tracks; one that fails is a warning."""
    names = [name for name in _TABLE if _asked(profile.track, name)]
    if not names:
        yield listen
        return
    folder = Folder(run=run)
    before = list(events.read(folder.events))

    def warn(reason: str) -> None:
        events.Events(folder.events).tell("warning", reason=reason)
        if listen is not None:
            listen({"event": "warning", "reason": reason})

    teller = [_Teller(name, profile, run, before, warn) for name in names]

    def heard(event: dict[str, Any]) -> None:
        if listen is not None:
            listen(event)
        for each in teller:
            each.waiting.put(event)

    try:
        yield heard
    finally:
        for each in teller:
            each.end()


def _asked(track: Track, name: str) -> bool:
    return bool(getattr(track, name))


class _Teller:
    """Tells one service from a thread of its own: a slow one must not make a training look silent."""

    def __init__(
        self, name: str, profile: Profile, run: Path, before: list[dict[str, Any]], warn: Callable[[str], None]
    ) -> None:
        self.name, self.profile, self.run, self.before, self.warn = name, profile, run, before, warn
        self.waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Have it write out what is left, and wait for that, not for ever."""
        self.waiting.put(None)
        self.thread.join(_PATIENCE_S)
        if self.thread.is_alive():
            self.warn(f"track.{self.name}: still not done {_PATIENCE_S:g} s after the end: given up")

    def _work(self) -> None:
        try:
            self._tell(importlib.import_module(_TABLE[self.name][1]).Sink(self.profile, self.run))
        except Exception as error:  # whatever a service or its library raises: the training goes on
            said = str(error).strip().splitlines()
            why = f"{type(error).__name__}: {said[0][:300] if said else ''}"
            self.warn(f"track.{self.name}: nothing more is told there: {why}")

    def _tell(self, sink: Sink) -> None:
        if sink.fresh:
            for number, row in story.told(self.before).rows.items():
                sink.epoch(number, numbers(row))
        while (event := self.waiting.get()) is not None:
            _pass_on(event, sink)
        sink.close()


def _pass_on(event: Mapping[str, Any], sink: Sink) -> None:
    epoch = story.whole(event.get("epoch"))
    if event.get("event") == "segment":
        sink.cut(story.whole(event.get("first_epoch")) or 1)
    elif event.get("event") == "epoch" and epoch is not None:
        sink.epoch(epoch, numbers(event))
    if text := story.sentence(event):
        sink.note(epoch or story.whole(event.get("first_epoch")) or 0, text)


def numbers(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch by name: `loss/box`, `metric/mAP50`, `fitness`, `lr` ..."""
    told: dict[str, Any] = {}
    for group, name in (("losses", "loss"), ("metrics", "metric")):
        values = event.get(group)
        told |= {f"{name}/{key}": value for key, value in values.items()} if isinstance(values, Mapping) else {}
    told |= {name: event.get(name) for name in ("fitness", "lr", "grad_norm", "seconds", "memory_mb")}
    return {name: known for name, value in told.items() if (known := story.number(value)) is not None}
