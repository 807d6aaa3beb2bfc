"""What is left of a training that went wrong: errors/NAME.log, and the sentences a user reads."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.errors import DeploytkError, StepFailed, TrainingFailed
from deploytk.files import write_text
from deploytk.profile import Profile
from deploytk.stages.run_folder import RunFolder
from deploytk.training import deaths, timeline
from deploytk.training.segments import Outcome
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder, State

_TAIL = 200
_DRAWING_S = 120.0
_DIED = "the last process that died:"


def log_of(run: RunFolder, profile: Profile) -> Path:
    """Where the story of what went wrong stands."""
    return Folder(run=run.path).errors / f"{profile.name}.log"


def note(run: RunFolder, profile: Profile, error: StepFailed, outcome: Outcome, phase: str) -> None:
    """Keep how a segment's process died: the command that repeats it and the end of its log, traceback included."""
    told = [f"{outcome.ended} in phase {phase}: {outcome.reason}", f"again: {error.command}", f"log: {error.log}"]
    _keep(log_of(run, profile), "\n".join([*told, "", *_tail(Path(error.log))]) + "\n")


def _keep(path: Path, text: str) -> None:
    """Write a log; a disk that is full must not hide what filled it."""
    with contextlib.suppress(OSError):
        write_text(path, text)


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    except OSError:
        return []


def failed(run: RunFolder, profile: Profile, state: State) -> TrainingFailed:
    """The error of a training that has ended without success: why, what is kept, how to go on."""
    path = log_of(run, profile)
    reasons = (f"{profile.name}: training failed: {state.reason}", _kept(run, profile), ways_on(run))
    told = [*reasons, "", "timeline", timeline.table(state), "", _DIED, _story(path)]
    _keep(path, "\n".join(told) + "\n")
    reasons = (*reasons[:2], f"{reasons[2]}; all of it: {path}")
    return TrainingFailed("\n".join(reasons), reasons=reasons)


def told_of(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep, of several trainings, why each that failed did: `out`/errors/NAME.log; of one that now succeeds none."""
    for row in rows:
        log = out / "errors" / f"{row['variant']}.log"
        if row["status"] == "failed":
            own = out / row["folder"] / "errors" / log.name
            story = _tail(own) if own.is_file() else []
            _keep(log, "\n".join([*row["reasons"], *(["", f"{own}:", *story] if story else [])]) + "\n")
        else:
            log.unlink(missing_ok=True)


def draw(run: RunFolder, profile: Profile) -> None:
    """Write the report and the curves; what goes wrong with them must not hide why the training failed."""
    told = {"profile": profile.model_dump(mode="json", by_alias=True), "run": str(run.path)}
    with contextlib.suppress(DeploytkError, OSError):
        worker.call(
            "deploytk.stages.steps:report_training", told, logs=run.logs, name="train_report", timeout_s=_DRAWING_S
        )


def _story(path: Path) -> str:
    """What the log says of the last process that died, also where it was written out as a failure before."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "none"
    return text.rpartition(f"\n{_DIED}\n")[2].rstrip()


def refused(run: RunFolder, profile: Profile, error: DeploytkError) -> None:
    """Keep why a segment's process refused to train."""
    logs = sorted(run.logs.glob("train_*.log"), key=lambda path: path.stat().st_mtime)
    tail = _tail(logs[-1]) if logs else []
    _keep(log_of(run, profile), "\n".join([f"{type(error).__name__}: {error.message}", "", *tail]) + "\n")


def disk_full(run: RunFolder, profile: Profile, cause: str) -> TrainingFailed:
    """The error of a training that could not write down what it had done; the state before it still stands."""
    free = f"{deaths.free_bytes(run.path) / 1e6:,.1f} MB are free"
    why = f"{profile.name}: the disk is full: {free} in {run.path} ({cause})"
    reasons = (why, _kept(run, profile), ways_on(run))
    return TrainingFailed("\n".join(reasons), reasons=reasons)


def _kept(run: RunFolder, profile: Profile) -> str:
    shelf = Shelf(Folder(run=run.path).checkpoints, profile.keep)
    if shelf.last is None:
        return "nothing is kept: no epoch was healthy"
    best = f", the best epoch {shelf.best.epoch}" if shelf.best else ""
    return f"kept: everything up to epoch {shelf.last.epoch} ({shelf.path(shelf.last)}){best}"


def ways_on(run: RunFolder) -> str:
    """How to go on with the training in a run folder."""
    again = f"deploytk train {run.path / 'profile.json'} --out {run.path} --resume"
    return f"go on with: {again}; what went wrong: deploytk diagnose {run.path}"
