"""What goes wrong on purpose, named in the environment variable TOY_FAULTS: `oom@3,nan@1x2,slow=0.01`.

NAME@EPOCH     once, in that epoch: the next process that comes to the epoch is spared
NAME@EPOCHx3   three times
NAME@EPOCH*    each time

oom            memory runs out, and the loop tells it as an outcome
oom-raise      memory runs out, and the error leaves the process
nan            the loss and a weight are NaN
collapse       from this epoch on the model predicts the opposite
kill           the process is killed (SIGKILL) in the epoch
kill-save      ... when half of the checkpoint is written
crash          an exception nobody expected
disk-full      the disk is full when half of the checkpoint is written
hang           the process falls silent in the epoch
hang-load, hang-first-step: it does so there, in whatever epoch it begins (write @0)
slow=SECONDS   each step takes so long
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

from deploytk.files import write_json

_FAULT = re.compile(r"(?P<name>[a-z-]+)@(?P<epoch>\d+)(?P<times>x\d+|\*)?")


class Faults:
    """The faults that are wanted, and how often each has come already, kept in the run folder."""

    def __init__(self, run: Path) -> None:
        told = [text.strip() for text in os.environ.get("TOY_FAULTS", "").split(",") if text.strip()]
        self.slow_s = next((float(text.removeprefix("slow=")) for text in told if text.startswith("slow=")), 0.0)
        self.wanted = [found for text in told if (found := _FAULT.fullmatch(text))]
        self.file = run / "training" / "toy_faults.json"

    def due(self, name: str, epoch: int = 0) -> bool:
        """Whether this fault comes now; then it is counted."""
        for found in self.wanted:
            if found["name"] == name and int(found["epoch"]) == epoch:
                return self._counted(found)
        return False

    def _counted(self, found: re.Match[str]) -> bool:
        times = found["times"] or "x1"
        counts = json.loads(self.file.read_text()) if self.file.is_file() else {}
        so_far = counts.get(found[0], 0)
        if times != "*" and so_far >= int(times[1:]):
            return False
        write_json(self.file, {**counts, found[0]: so_far + 1})
        return True


def killed() -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Say nothing for an hour."""
    time.sleep(3600)
