"""RUN/training/state.json: the segments of a training and how each ended, written whole at each change."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from deploytk.errors import InputError
from deploytk.files import plain, write_json
from deploytk.training.segments import Outcome, Segment, Step, as_dict, outcome_from

Status = Literal["running", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """`RUN/training/`: where a training keeps what it needs to go on."""

    run: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.run / "training"

    @property
    def state(self) -> Path:
        """What was done and how it ended."""
        return self.path / "state.json"

    @property
    def events(self) -> Path:
        """One JSON object a line, from every process of the training."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints and metadata.json, their table."""
        return self.path / "checkpoints"

    @property
    def oom_stats(self) -> Path:
        """Each time memory ran out, and what was done."""
        return self.path / "oom_stats.json"

    @property
    def errors(self) -> Path:
        """A file with the traceback for each thing that went wrong."""
        return self.run / "errors"


@dataclass(frozen=True, kw_only=True)
class State:
    """A training so far."""

    key: str  # of everything that shapes the weights, the number of epochs apart
    status: Status
    reason: str = ""
    steps: tuple[Step, ...] = ()

    def with_segment(self, segment: Segment) -> State:
        """The state in which `segment` has begun."""
        begun = Step(segment=segment, began=round(time.time(), 3))
        return replace(self, status="running", reason=segment.reason, steps=(*self.steps, begun))

    def with_outcome(self, outcome: Outcome, seconds: float) -> State:
        """The state in which the last segment has ended."""
        ended = replace(self.steps[-1], outcome=outcome, seconds=round(seconds, 1))
        return replace(self, steps=(*self.steps[:-1], ended))

    def write(self, folder: Folder) -> None:
        """Put it into state.json: the whole new one or the whole old one is there at any moment."""
        steps = [
            {
                "segment": as_dict(s.segment),
                "outcome": as_dict(s.outcome) if s.outcome else None,
                "seconds": s.seconds,
                "began": s.began,
            }
            for s in self.steps
        ]
        write_json(folder.state, plain({**asdict(replace(self, steps=())), "steps": steps}))


def read(folder: Folder) -> State | None:
    """The state that a training has left, None where none was begun.

    Raises:
        InputError: the file is damaged.
    """
    try:
        told = json.loads(folder.state.read_text(encoding="utf-8"))
        steps = tuple(
            Step(
                segment=Segment(**s["segment"]),
                outcome=outcome_from(s["outcome"]) if s["outcome"] else None,
                seconds=s["seconds"],
                began=s.get("began"),
            )
            for s in told.pop("steps")
        )
        return State(**told, steps=steps)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{folder.state}: damaged ({error}); give another --out, or train anew with --restart"
        ) from error
