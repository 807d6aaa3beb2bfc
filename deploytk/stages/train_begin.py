"""Whether a training is begun, gone on with, skipped or refused: by what stands in the run folder, and the wish."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Literal

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages import train_errors, train_settings
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train_settings import Settings, differences
from deploytk.training import segments
from deploytk.training import state as states
from deploytk.training.segments import End, Segment
from deploytk.training.state import Folder, State
from deploytk.training.supervisor import Job, following, reached

How = Literal["auto", "resume", "restart"]

#: What a training leaves in the run folder. The model first: half of this removed must not look finished.
_LEFT = (
    "model.pt.json", "model.pt", "model.json", "model", "training/state.json", "training", "errors", "weights",
    "results.csv", "training_summary.json", "training_report.md", "curves.png", "tensorboard",
    "class_index.json",
)  # fmt: skip


def removed(run: RunFolder) -> None:
    """Remove the training that stands in the run folder, and nothing else."""
    for name in _LEFT:
        path = run.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def refuse_own_weights(profile: Profile, run: RunFolder) -> None:
    """Nothing, unless the pretrained weights lie where this training removes older ones.

    Raises:
        InputError: they do.
    """
    pretrained = profile.model.pretrained
    if pretrained is not None and pretrained.resolve().is_relative_to(run.path.resolve()):
        raise InputError(
            f"model.pretrained: {pretrained} lies in {run.path}, which is written anew; give another --out"
        )


def require_same(run: RunFolder, wanted: Settings, how: How) -> None:
    """Nothing, where what stands in the run folder can be gone on with as it is asked; nothing is changed.

    Raises:
        InputError: there is nothing to resume, or another training stands here.
    """
    if how == "restart":
        return
    state = states.read(Folder(run=run.path))
    if state is None:
        if how == "resume":
            raise InputError(f"{run.path}: no training to resume here; start one without --resume")
        if run.model.exists():
            old = train_settings.of_model(run)
            _refuse_other(run, differences(old, wanted.all) if old else [])
        return
    standing = train_settings.standing(run)
    if standing is None:
        raise InputError(f"{run.path}: a training without its settings.json stands here; {_WAYS}")
    old, new = ({**s.shape, "data": s.data} for s in (standing, wanted))
    # The device that a training has begun on may be gone: who asks goes on with another.
    told = [d for d in differences(old, new) if how != "resume" or not d.startswith("train.device:")]
    if told:
        _refuse_other(run, told)
    if how == "resume":
        _refuse_shorter(run, state, wanted)
        return
    if told := differences({"versions": standing.versions}, {"versions": wanted.versions}):
        raise InputError(f"{run.path}: its training was made with other libraries ({', '.join(told)}); {_WAYS_ON}")
    if told := differences({"train": standing.length}, {"train": wanted.length}):
        raise InputError(f"{run.path}: its training was to be of another length ({', '.join(told)}); {_WAYS_ON}")


_WAYS = "give another --out, or train anew with --restart"
_WAYS_ON = f"go on all the same with --resume, {_WAYS}"


def _refuse_other(run: RunFolder, told: list[str]) -> None:
    shown = "; ".join(told[:8]) + (f"; and {len(told) - 8} more" if len(told) > 8 else "")
    what = f"a training with other settings ({shown})" if told else "a model of which deploytk has no training"
    raise InputError(f"{run.path}: {what} stands here; {_WAYS}")


def _refuse_shorter(run: RunFolder, state: State, wanted: Settings) -> None:
    trained = max((s.outcome.reached for s in state.steps if s.outcome), default=0)
    if state.status == "done" and state.steps:
        trained = max(trained, state.steps[-1].segment.total_epochs)
    if wanted.length["epochs"] < trained:
        asked = wanted.length["epochs"]
        raise InputError(f"{run.path}: {trained} epochs stand here, more than --epochs {asked}: give more, or {_WAYS}")


def begun(run: RunFolder, wanted: Settings, how: How) -> State:
    """The state that a training is begun or gone on with, written down with its settings."""
    folder = Folder(run=run.path)
    state = None if how == "restart" else states.read(folder)
    if state is None:
        removed(run)  # also what a restart that was killed has left
    state = replace(state or State(key=wanted.key, status="running"), key=wanted.key)
    wanted.write(folder)
    if not state.steps:
        state.write(folder)
    return state


def plan(job: Job, run: RunFolder, state: State, how: How, *, more_patience: bool = False) -> Segment | End:
    """What is done first.

    Raises:
        TrainingFailed: the training has failed before, and was not asked to go on.
    """
    if not state.steps or state.status == "running":
        return following(job, state)
    if state.status == "failed" and how != "resume":
        raise train_errors.failed(run, job.profile, state)
    longer = job.profile.train.epochs > state.steps[-1].segment.total_epochs
    if state.status == "done" and not longer and not more_patience:
        return End(ok=True, reason=state.reason)
    return segments.resumed(job.profile, state.steps, reached(job))


def more_patience(run: RunFolder, wanted: Settings) -> bool:
    """Whether a training is to wait longer for a better epoch than it was."""
    standing = train_settings.standing(run)
    if standing is None:
        return False
    before, now = standing.length["patience"], wanted.length["patience"]
    return before > 0 and (now == 0 or now > before)
