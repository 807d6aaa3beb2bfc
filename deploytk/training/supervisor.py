"""The loop over the segments of a training: plan, write the plan down, run it, write down how it ended, plan again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from deploytk.errors import DeploytkError
from deploytk.files import plain, write_json
from deploytk.profile import Profile
from deploytk.training import events, segments, timeline
from deploytk.training.segments import End, Outcome, Segment, as_dict
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


def supervise(job: Job, state: State, plan: Segment | End | None = None) -> State:
    """The state in which the training ended, done or failed; state.json says at every moment how far it has come.

    Args:
        plan: what is done first; by default what follows from the state.

    Raises:
        DeploytkError: what a segment's process refused to train; the state is failed then.
    """
    plan = plan or following(job, state)
    while isinstance(plan, Segment):
        state, ended = _trained(job, state, plan)
        plan = ended or following(job, state)
    state = replace(state, status="done" if plan.ok else "failed", reason=plan.reason)
    _write(job, state)
    job.tell("end", ok=plan.ok, reason=plan.reason)
    return state


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
    for told in events.read(job.folder.events):
        ours = told["event"] == "advice" and told["time"] >= (cut_off.began or 0)
        if ours and told.get("auto") and told.get("epoch") == last.epoch:
            changes = tuple(sorted((str(k), float(v)) for k, v in told["changes"].items()))
            return Outcome(ended="rule", reached=last.epoch, reason=told["reason"], changes=changes)
    trained = kept.entries[-1].epoch
    if patience and best and trained - best.epoch >= patience:
        why = f"no better epoch since {best.epoch}: stopped early after epoch {trained} (patience {patience})"
        return Outcome(ended="early_stop", reached=last.epoch, reason=why)
    return None


def _trained(job: Job, state: State, segment: Segment) -> tuple[State, End | None]:
    """(the state after one segment, the end where it must not be followed by another)."""
    state = state.with_segment(segment)
    _write(job, state)
    job.tell("segment", number=len(state.steps), **as_dict(segment))
    began, ended, refused = time.monotonic(), None, None
    try:
        outcome = job.launch(segment, len(state.steps))
    except Hopeless as error:
        outcome, ended = error.outcome, End(ok=False, reason=error.outcome.reason)
    except DeploytkError as error:
        outcome, refused = Outcome(ended="crash", reached=reached(job), reason=error.message), error
    state = state.with_outcome(outcome, time.monotonic() - began)
    if refused is not None:
        _write(job, replace(state, status="failed", reason=refused.message))
        job.tell("end", ok=False, reason=refused.message)
        raise refused
    _write(job, state)
    job.tell("outcome", **as_dict(outcome))
    return state, ended


def _write(job: Job, state: State) -> None:
    state.write(job.folder)
    ledger: list[dict[str, Any]] = timeline.oom_ledger(state, job.profile.train.device)
    if ledger:
        write_json(job.folder.oom_stats, plain(ledger))
