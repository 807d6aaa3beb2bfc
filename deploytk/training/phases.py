"""Milestones and phase rules: what a user expects of the metrics by when, and what is to change where it is not so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deploytk.profile_training import Milestone, PhaseRule
from deploytk.training import events
from deploytk.training.guard import Facts
from deploytk.training.shelf import Entry


def milestones(wanted: Sequence[Milestone], facts: Facts) -> Iterator[dict[str, Any]]:
    """What is to be told of the milestones of this epoch: whether each was met. An unknown metric is never met."""
    for stone in wanted:
        if stone.epoch == facts.epoch:
            reached = facts.metrics.get(stone.metric)
            met = reached is not None and reached >= stone.at_least
            yield {**stone.model_dump(), "reached": reached, "met": met}


def advice(rules: Sequence[PhaseRule], entries: Sequence[Entry], told: Path) -> Iterator[dict[str, Any]]:
    """What the phase rules say after the last entry; each as often as it may."""
    if not rules or not entries:
        return
    for number, rule in enumerate(rules):
        why = _holds(rule, entries)
        if why and _said(told, number) < rule.times:
            changes = {k: v for k, v in (("lr", rule.lr), ("weight_decay", rule.weight_decay)) if v != 1.0}
            how = ", ".join(f"{name} x {factor:g}" for name, factor in changes.items()) or "nothing to change"
            yield {
                "epoch": entries[-1].epoch,
                "rule": number,
                "reason": f"{why}: {how}",
                "changes": changes,
                "auto": rule.auto and bool(changes),
            }


def _said(path: Path, number: int) -> int:
    return sum(1 for e in events.read(path) if e["event"] == "advice" and e.get("rule") == number)


def _holds(rule: PhaseRule, entries: Sequence[Entry]) -> str:
    """Why the rule holds after the last epoch, or the empty string."""
    epoch, value = entries[-1].epoch, _value(entries[-1], rule.metric)
    if epoch < rule.after or value is None:
        return ""
    if rule.below is not None and value < rule.below:
        return f"{rule.metric} is {value:.4g} after epoch {epoch}, below {rule.below:g}"
    if rule.above is not None and value > rule.above:
        return f"{rule.metric} is {value:.4g} after epoch {epoch}, above {rule.above:g}"
    if rule.plateau is not None and len(entries) > rule.plateau:
        falls = rule.metric == "gap" or rule.metric.endswith("loss")  # these are better the lower they are
        values = [-v if falls else v for e in entries if (v := _value(e, rule.metric)) is not None]
        if max(values[-rule.plateau :], default=0.0) <= max(values[: -rule.plateau], default=float("-inf")):
            return f"{rule.metric} has not {'fallen' if falls else 'risen'} for {rule.plateau} epochs"
    return ""


def _value(entry: Entry, name: str) -> float | None:
    if name != "gap":
        return entry.metrics.get(name, entry.losses.get(name))
    train = sum(v for v in entry.losses.values() if v is not None)
    val = sum(v for k, v in entry.metrics.items() if v is not None and k.startswith("val") and k.endswith("loss"))
    return val / train - 1.0 if train > 0 and val > 0 else None
