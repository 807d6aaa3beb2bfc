"""What is told of a training beside its metrics: segments, milestones, advice, memory, checkpoints."""

from __future__ import annotations

import json
from typing import Any

from deploytk.training import events, story, timeline
from deploytk.training.shelf import best_of, entries_in
from deploytk.training.state import Folder, State


def told(state: State, folder: Folder, device: str) -> dict[str, Any]:
    """The parts of a training's summary that its backend does not know."""
    heard = story.told(events.read(folder.events))
    kept = entries_in(folder.checkpoints)
    best = best_of(kept)
    return {
        "attempts": timeline.attempts(state),
        "timeline": timeline.rows(state),
        "milestones": _without_stamp(heard.milestones),
        "advice": _without_stamp(heard.advice),
        "memory": timeline.oom_ledger(state, device),
        "checkpoints": [
            {"epoch": e.epoch, "file": e.file, "fitness": e.fitness, "best": e is best, "pick": e.pick}
            for e in kept
            if e.file
        ],
    }


def entries(folder: Folder) -> list[dict[str, Any]]:
    """The rows of metadata.json, as they stand there; none where it is missing or damaged."""
    try:
        rows = json.loads((folder.checkpoints / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [{"pick": "", **row} for row in known if story.whole(row.get("epoch")) is not None]


def _without_stamp(happened: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key not in {"event", "time"}} for event in happened]
