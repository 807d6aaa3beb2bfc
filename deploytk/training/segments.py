"""A training as a list of segments: how each was run, how it ended, and what is planned next. Pure values and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from deploytk.profile import Profile

#: How a segment ended. `done`: its last epoch was trained. The first three end a training or lead to the next segment,
#: `nan`, `collapse` and `oom` are answered by the guard's policy, `crash`, `killed` and `timeout` by the supervisor's.
Ending = Literal["done", "early_stop", "rule", "nan", "collapse", "oom", "crash", "killed", "timeout"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a training with settings of its own. Epochs are counted from 1, both ends included."""

    first_epoch: int
    last_epoch: int
    total_epochs: int  # of the whole training: what the learning rate's curve is drawn over
    imgsz: int
    batch: int
    accumulate: int  # batches per optimizer step
    precision: str  # auto, fp32, bf16, fp16
    lr_scale: float = 1.0  # times the learning rate of the profile
    weight_decay_scale: float = 1.0
    reason: str = "start"

    @property
    def effective_batch(self) -> int:
        """Images per optimizer step."""
        return self.batch * self.accumulate


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a segment ended, as its child or its supervisor tells it."""

    ended: Ending
    reached: int  # the last healthy epoch whose checkpoint is kept, 0 for none
    reason: str
    precision: str = ""  # what `auto` became
    evidence: tuple[str, ...] = ()
    changes: tuple[tuple[str, float], ...] = ()  # of a phase rule: ("lr", 0.5), ("weight_decay", 2.0)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A segment that was begun, and its outcome once it has ended."""

    segment: Segment
    outcome: Outcome | None = None
    seconds: float | None = None
    began: float | None = None  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class End:
    """No further segment: the training is finished, or failed for a reason."""

    ok: bool
    reason: str


def first(profile: Profile) -> Segment:
    """The segment a training begins with."""
    train = profile.train
    effective = train.effective_batch or train.batch
    return _bounded(
        profile,
        Segment(
            first_epoch=1,
            last_epoch=train.epochs,
            total_epochs=train.epochs,
            imgsz=train.imgsz,
            batch=train.batch,
            accumulate=max(1, round(effective / train.batch)),
            precision=train.precision,
        ),
    )


def following(profile: Profile, steps: Sequence[Step], reached: int) -> Segment | End:
    """The segment after `steps`, or the end.

    Args:
        reached: the last epoch with a healthy checkpoint; the next segment goes on from there.
    """
    if not steps:
        return first(profile)
    last = steps[-1]
    before = last.segment
    if last.outcome is None:  # killed together with its supervisor
        return _from(profile, before, reached, "resumed")
    after = _answer(profile, steps, last.outcome, reached)
    if isinstance(after, End):
        return after
    return _from(profile, after, reached, after.reason)


def resumed(profile: Profile, steps: Sequence[Step], reached: int) -> Segment | End:
    """The segment with which a user goes on after a training has ended, failed or been killed, as it last was."""
    return _from(profile, steps[-1].segment, reached, "resumed") if steps else first(profile)


def _answer(profile: Profile, steps: Sequence[Step], outcome: Outcome, reached: int) -> Segment | End:
    """The settings of the next segment by how the last one ended; its epochs are set afterwards."""
    segment = steps[-1].segment
    if outcome.ended == "done":
        # A last epoch that is far below the best is not kept; training it again would end the same.
        if max(reached, segment.last_epoch) >= profile.train.epochs:
            return End(ok=True, reason=f"all {profile.train.epochs} epochs were trained")
        if reached < segment.first_epoch:
            return End(ok=False, reason=f"no epoch of {segment.first_epoch} to {segment.last_epoch} is kept")
        return replace(segment, reason="the next size" if profile.train.resize else "more epochs")
    if outcome.ended == "early_stop":
        if profile.train.epochs > segment.total_epochs:
            return replace(segment, reason="more epochs")
        return End(ok=True, reason=outcome.reason)
    if outcome.ended == "rule":
        return _changed(segment, outcome)
    if outcome.ended in {"nan", "collapse"}:
        return _rolled_back(profile, steps, outcome)
    if outcome.ended == "oom":
        return _smaller(profile, steps, outcome)
    return _again(steps, outcome, reached)


def _changed(segment: Segment, outcome: Outcome) -> Segment:
    by = dict(outcome.changes)
    return replace(
        segment,
        lr_scale=segment.lr_scale * by.get("lr", 1.0),
        weight_decay_scale=segment.weight_decay_scale * by.get("weight_decay", 1.0),
        reason=outcome.reason,
    )


def _rolled_back(profile: Profile, steps: Sequence[Step], outcome: Outcome) -> Segment | End:
    guard, segment = profile.guard, steps[-1].segment
    if (guard.nan if outcome.ended == "nan" else guard.collapse) == "fail":
        return End(ok=False, reason=outcome.reason)
    before = sum(1 for s in steps if s.outcome and s.outcome.ended in {"nan", "collapse"})
    if before <= guard.max_rollbacks:
        why = f"rollback {before} of {guard.max_rollbacks}: {outcome.reason}"
        return replace(segment, lr_scale=segment.lr_scale * guard.lr_factor, reason=why)
    if guard.fp32 and outcome.precision not in {"", "fp32"}:
        return replace(segment, precision="fp32", reason=f"once more in fp32: {outcome.reason}")
    return End(ok=False, reason=f"{outcome.reason}; {before - 1} rollbacks did not help")


def _smaller(profile: Profile, steps: Sequence[Step], outcome: Outcome) -> Segment | End:
    guard, segment = profile.guard, steps[-1].segment
    times = sum(1 for s in steps if s.outcome and s.outcome.ended == "oom")
    if guard.oom == "fail" or times > guard.max_oom:
        return End(ok=False, reason=outcome.reason)
    if guard.oom == "retry":
        return replace(segment, reason=f"the same again: {outcome.reason}")
    processes = len(profile.train.devices)
    least = max(guard.min_batch, 2 * processes if processes > 1 else 1)
    batch = smaller_batch(segment.batch, segment.accumulate, least)
    if batch is None:
        return End(
            ok=False,
            reason=f"{outcome.reason}; no batch below {segment.batch} (at least {least}) divides the "
            f"effective batch of {segment.effective_batch}",
        )
    accumulate = segment.effective_batch // batch
    why = f"out of memory: batch {batch} and {accumulate} batches per step instead of {segment.batch} and "
    return replace(segment, batch=batch, accumulate=accumulate, reason=f"{why}{segment.accumulate}")


def smaller_batch(batch: int, accumulate: int, least: int = 1) -> int | None:
    """The largest batch size of at most half of `batch` that divides batch x accumulate, or None below `least`."""
    effective = batch * accumulate
    return next((b for b in range(batch // 2, max(least, 1) - 1, -1) if effective % b == 0), None)


def _again(steps: Sequence[Step], outcome: Outcome, reached: int) -> Segment | End:
    """A crash, a kill or a hang is tried once more from the last checkpoint, where the segment had come further."""
    if reached >= steps[-1].segment.first_epoch:
        return replace(steps[-1].segment, reason=f"again after: {outcome.reason}")
    return End(ok=False, reason=outcome.reason)


def _from(profile: Profile, settings: Segment, reached: int, reason: str) -> Segment | End:
    if reached >= profile.train.epochs:
        return End(ok=True, reason=f"all {profile.train.epochs} epochs were trained")
    return _bounded(profile, replace(settings, first_epoch=reached + 1, reason=reason))


def _bounded(profile: Profile, segment: Segment) -> Segment:
    """The segment with the image size of its first epoch, ending where that size ends."""
    total = profile.train.epochs
    imgsz = size_at(profile, segment.first_epoch)
    last = segment.first_epoch
    while last < total and size_at(profile, last + 1) == imgsz:
        last += 1
    return replace(segment, imgsz=imgsz, last_epoch=last, total_epochs=total)


def size_at(profile: Profile, epoch: int) -> int:
    """The image size of an epoch (from 1): `train.imgsz`, or what progressive resizing has come to, in steps of 32."""
    train = profile.train
    if train.resize is None or epoch >= train.resize.until:
        return train.imgsz
    resize = train.resize
    steps = min(resize.steps, resize.until - 1)
    step = (epoch - 1) * steps // (resize.until - 1)
    return resize.start + round((train.imgsz - resize.start) * step / steps / 32) * 32


def as_dict(value: Segment | Outcome) -> dict[str, Any]:
    """A segment or an outcome as JSON-like values."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.__dict__.items()}


def outcome_from(told: dict[str, Any]) -> Outcome:
    """The outcome that `as_dict` wrote."""
    return Outcome(
        **{
            **told,
            "evidence": tuple(told.get("evidence", ())),
            "changes": tuple((str(k), float(v)) for k, v in told.get("changes", ())),
        }
    )
