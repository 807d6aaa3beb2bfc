"""The loop over the segments of a training: plan, write the plan down, run it, write down how it ended, plan again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from deploytk.errors import DeploytkError
from deploytk.files import plain, write_json
from deploytk.profile import Profile
from deploytk.training import events, phases, segments, timeline
from deploytk.training.segments import End, Outcome, Segment, Step, as_dict
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder, State

#: Runs a segment in a process of its own: (segment, its number counted from 1) -> how it ended.
Launch = Callable[[Segment, int], Outcome]
Tell = Callable[..., None]


class Hopeless(Exception):
    """A segment ended by something that going on at once would meet again."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to be supervised. `tell(event, **fields)` puts an event into its stream."""

    profile: Profile
    folder: Folder
    launch: Launch
    tell: Tell
    until: int | None = None  # the epoch after which the training pauses; another is to have its turn then


def supervise(job: Job, state: State, plan: Segment | End | None = None) -> State:
    """The state in which the training ended, done or failed, or paused (running); state.json says at every moment how
    far it has come.

    Args:
        plan: what is done first; by default what follows from the state.

    Raises:
        DeploytkError: a segment's process refused to train it; the state is as before that segment then.
    """
    plan = plan or following(job, state)
    while isinstance(plan, Segment):
        if _paused(job, state, plan):
            return state
        state, ended = _trained(job, state, _until(job, plan))
        plan = ended or following(job, state)
    state = replace(state, status="done" if plan.ok else "failed", reason=plan.reason)
    _write(job, state)
    job.tell("end", ok=plan.ok, reason=plan.reason)
    return state


def _paused(job: Job, state: State, plan: Segment) -> bool:
    """Whether the turn is over: its last epoch was trained, be it kept or not."""
    if job.until is None:
        return False
    last = state.steps[-1] if state.steps else None
    done = last.segment.last_epoch if last and last.outcome and last.outcome.ended == "done" else 0
    return max(plan.first_epoch - 1, done) >= job.until


def _until(job: Job, plan: Segment) -> Segment:
    return plan if job.until is None else replace(plan, last_epoch=min(plan.last_epoch, job.until))


def shelf(job: Job) -> Shelf:
    """The checkpoints as they are now; half of one that a killed process left is removed."""
    for left in job.folder.checkpoints.glob(".epoch_*.tmp.*"):
        left.unlink(missing_ok=True)
    return Shelf(job.folder.checkpoints, job.profile.keep)


def reached(job: Job) -> int:
    """The last epoch that training can go on from, 0 for none."""
    last = shelf(job).last
    return last.epoch if last else 0


def following(job: Job, state: State) -> Segment | End:
    """What is planned next, also where deploytk itself was killed in the middle of a segment."""
    steps = state.steps
    if steps and steps[-1].outcome is None and (lost := _lost_outcome(job, state)):
        steps = (*steps[:-1], replace(steps[-1], outcome=lost))
    return segments.following(job.profile, steps, reached(job))


def _lost_outcome(job: Job, state: State) -> Outcome | None:
    """How a cut-off segment had ended already when it was cut off, where its last epoch decided that."""
    kept, cut_off = shelf(job), state.steps[-1]
    last, best, patience = kept.last, kept.best, job.profile.train.patience
    if last is None or last.epoch < cut_off.segment.first_epoch:
        return None
    for advice in _advice(job, cut_off, kept):
        if advice["auto"]:
            changes = tuple(sorted((str(k), float(v)) for k, v in advice["changes"].items()))
            return Outcome(ended="rule", reached=last.epoch, reason=advice["reason"], changes=changes)
    trained = kept.entries[-1].epoch
    if patience and best and trained - best.epoch >= patience:
        why = f"no better epoch since {best.epoch}: stopped early after epoch {trained} (patience {patience})"
        return Outcome(ended="early_stop", reached=last.epoch, reason=why)
    return None


def _advice(job: Job, cut_off: Step, kept: Shelf) -> list[dict[str, Any]]:
    """What the phase rules say after the last epoch: what the cut-off process has told, else looked at again."""
    trained = kept.entries[-1].epoch
    told = [
        event
        for event in events.read(job.folder.events)
        if event["event"] == "advice" and event["time"] >= (cut_off.began or 0) and event.get("epoch") == trained
    ]
    if told:
        return told
    fresh = list(phases.advice(job.profile.rules, kept.entries, job.folder.events))
    for advice in fresh:
        job.tell("advice", **advice)
    return fresh


def _trained(job: Job, before: State, segment: Segment) -> tuple[State, End | None]:
    """(the state after one segment, the end where it must not be followed by another)."""
    state = before.with_segment(segment)
    _write(job, state)
    job.tell("segment", number=len(state.steps), **as_dict(segment))
    began, ended = time.monotonic(), None
    try:
        outcome = job.launch(segment, len(state.steps))
    except Hopeless as error:
        outcome, ended = error.outcome, End(ok=False, reason=error.outcome.reason)
    except DeploytkError as error:
        # Refused is not begun: once the reason is gone, the same command goes on from here.
        _write(job, replace(before, reason=error.message))
        job.tell("end", ok=False, reason=error.message)
        raise
    state = state.with_outcome(outcome, time.monotonic() - began)
    _write(job, state)
    job.tell("outcome", **as_dict(outcome))
    return state, ended


def _write(job: Job, state: State) -> None:
    state.write(job.folder)
    ledger: list[dict[str, Any]] = timeline.oom_ledger(state, job.profile.train.device)
    if ledger:
        write_json(job.folder.oom_stats, plain(ledger))
