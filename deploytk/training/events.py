"""The one stream of events of a training: a line of JSON each, in a file and to the parent."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.files import plain

#: Every kind of event, and what it carries beside `event` and `time` (seconds since 1970).
KINDS = {
    "segment": "a segment begins: its fields",
    "phase": "phase: load, first_step, step, validate, save, finish",
    "step": "epoch, step, steps, loss, grad_norm | null, lr: a sign of life, a few times a second at most",
    "epoch": "epoch, losses, metrics, fitness, lr, seconds, memory_mb, grad_norm: a healthy epoch",
    "trouble": "kind (nan, collapse, dead), epoch, reason, evidence",
    "warning": "epoch, reason: what was seen and did not end the segment",
    "checkpoint": "epoch, file, best",
    "milestone": "epoch, metric, at_least, reached, met",
    "advice": "epoch, rule, changes, auto: what a phase rule says",
    "oom": "epoch, batch, accumulate, reason",
    "outcome": "a segment has ended: its fields",
    "end": "ok, reason: the training has ended",
}


class Events:
    """Appends events to a file, and tells each to the parent process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def tell(self, event: str, **fields: Any) -> None:
        """One more line. Numbers that JSON does not have become null."""
        told = plain({"event": event, "time": round(time.time(), 3), **fields})
        line = json.dumps(told, ensure_ascii=False, default=str) + "\n"
        # One write to a descriptor in append mode: lines of two processes never mix, a kill leaves whole lines.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        worker.emit(**told)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The events in a file, oldest first; a line cut short by a full disk is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if isinstance(told, dict) and "event" in told:
                yield told
