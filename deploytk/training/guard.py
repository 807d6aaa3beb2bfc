"""Whether an epoch was healthy: finite losses, gradients, weights and buffers, and a metric that has not collapsed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from deploytk.profile_training import Guard
from deploytk.training.shelf import Entry

#: Below this a metric has learned too little for "half of the best" to mean anything: 0.02 and 0.01 are the same.
_LEARNED = 0.1
#: A median below this share of the first loss counts as this share: what has converged is soon at ten times its median
#: (seen: 0.21 after 0.018).
_CONVERGED = 0.01
#: So many epochs give a running median, and so many must be there.
_WINDOW, _ENOUGH = 9, 3


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a trained epoch before it is kept."""

    epoch: int
    losses: dict[str, float]  # of training; the guard sums them
    metrics: dict[str, float] = field(default_factory=dict)  # of validation, its losses among them
    fitness: float | None = None  # higher is better
    grad_norm: float | None = None  # the largest of the epoch's finite ones
    steps: int = 0  # optimizer steps
    bad_steps: int = 0  # ... whose gradients were not finite
    sick: tuple[str, ...] = ()  # tensors with NaN or infinity, buffers too
    dead: tuple[str, ...] = ()  # tensors that are all zero and must not be
    tensors: int = 0


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why an epoch is not healthy."""

    kind: Literal["nan", "collapse"]
    reason: str
    evidence: tuple[str, ...] = ()


def judge(facts: Facts, before: Sequence[Entry], guard: Guard) -> Trouble | None:
    """The trouble of an epoch, or None.

    Args:
        before: the earlier epochs, in order.
    """
    return _not_finite(facts) or _dead(facts) or _collapsed(facts, before, guard)


def suspect(facts: Facts, before: Sequence[Entry], guard: Guard) -> bool:
    """Whether the metric lies below the share of the best that counts as collapse: one such epoch may be chance."""
    best = _best(before)
    if guard.collapse == "ignore" or best < _LEARNED:
        return False
    return facts.fitness is not None and facts.fitness < guard.collapse_ratio * best


def _not_finite(facts: Facts) -> Trouble | None:
    where = f"in epoch {facts.epoch}"
    if facts.sick:
        some = f"{len(facts.sick)} of {facts.tensors} tensors of the model are NaN or infinite {where}"
        return Trouble(kind="nan", reason=f"{some} (first: {facts.sick[0]})", evidence=facts.sick[:20])
    wrong = [f"{name} is {value}" for name, value in facts.losses.items() if not math.isfinite(value)]
    if wrong:
        return Trouble(kind="nan", reason=f"{wrong[0]} {where}", evidence=tuple(wrong))
    # A scaler skips a step with infinite gradients now and then, and rightly; not half of them.
    if facts.steps and facts.bad_steps * 2 > facts.steps:
        why = f"{facts.bad_steps} of {facts.steps} steps had gradients that are NaN or infinite {where}"
        return Trouble(kind="nan", reason=why)
    if facts.fitness is not None and not math.isfinite(facts.fitness):
        return Trouble(kind="nan", reason=f"the validation metric is {facts.fitness} {where}")
    return None


def _dead(facts: Facts) -> Trouble | None:
    if not facts.dead:
        return None
    some = f"{len(facts.dead)} of {facts.tensors} tensors are all zero after epoch {facts.epoch}"
    return Trouble(kind="nan", reason=f"{some} (first: {facts.dead[0]})", evidence=facts.dead[:20])


def _collapsed(facts: Facts, before: Sequence[Entry], guard: Guard) -> Trouble | None:
    if guard.collapse == "ignore":
        return None
    earlier = [sum(v for v in e.losses.values() if v is not None) for e in before if e.losses]
    median = statistics.median(earlier[-_WINDOW:]) if len(earlier) >= _ENOUGH else 0.0
    loss = sum(facts.losses.values())
    if median > 0 and loss > guard.loss_ratio * max(median, _CONVERGED * earlier[0]):
        why = f"the training loss is {loss:.4g} in epoch {facts.epoch}, {loss / median:.0f} times its median before"
        return Trouble(kind="collapse", reason=why)
    if not suspect(facts, before, guard):
        return None
    in_a_row = 1
    for entry in reversed(before):
        if not entry.suspect:
            break
        in_a_row += 1
    if in_a_row < guard.collapse_epochs:
        return None
    best = _best(before)
    why = f"the metric is {facts.fitness:.4g} in epoch {facts.epoch}, below {guard.collapse_ratio:g} of the best"
    return Trouble(kind="collapse", reason=f"{why} ({best:.4g}) for {in_a_row} epochs")


def _best(before: Sequence[Entry]) -> float:
    return max((e.fitness for e in before if e.fitness is not None and not e.suspect), default=0.0)
