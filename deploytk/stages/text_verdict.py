"""Whether a text model is worse than what it is compared with: shown, ruled out, or not to be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deploytk.budget import Verdict
from deploytk.stages.text_systems import System
from deploytk.text import rouge
from deploytk.text.rouge import Difference, Scores

#: The number that decides.
METRIC = "rougeL"
#: The bootstrap of fewer samples says nothing.
_FEW = 10


def verdict(systems: Sequence[System], scores: Sequence[Scores], chance: Scores, allowed: float) -> Verdict:
    """Pass where no loss beyond `allowed` is left possible, fail where one is shown, inconclusive between.

    Args:
        chance: what the right answers of other samples score; what is no better cannot show a loss.
    """
    failed = [f"{one.name}: {n} of {len(one.rows)} samples failed" for one in systems if (n := _failed(one))]
    if not scores:
        return Verdict(status="inconclusive", reasons=(*failed, "No sample was answered by all: nothing is shown."))
    said = f"ROUGE-L ({scores[0].tokenizer}) {scores[0].means[METRIC]:.3f} on {len(scores[0])} samples"
    told = [
        _judged(one.name, rouge.compared(scores[0], other)[METRIC], other, chance, allowed)
        for one, other in zip(systems[1:], scores[1:], strict=True)
    ]
    reasons = [f"{said}{'' if told else '; compared with nothing'}.", *(reason for _, reason in told)]
    if failed:
        return Verdict(status="inconclusive", reasons=(*(f"{each}." for each in failed), *reasons))
    kinds = {kind for kind, _ in told}
    status: Any = next((kind for kind in ("fail", "inconclusive") if kind in kinds), "pass")
    return Verdict(status=status, reasons=tuple(reasons))


def _failed(system: System) -> int:
    return sum(row["text"] is None for row in system.rows)


def _judged(name: str, apart: Difference, theirs: Scores, chance: Scores, allowed: float) -> tuple[str, str]:
    """(pass, fail or inconclusive; the reason) of one comparison."""
    low, high = apart.interval
    beside = f"Beside {name} ({theirs.means[METRIC]:.3f}): {apart.mean:+.3f} ({low:+.3f} to {high:+.3f}), {apart.told}"
    if len(theirs) < _FEW:
        return "inconclusive", f"{beside}; fewer than {_FEW} samples show nothing: give --samples 50."
    if high < -allowed:
        return "fail", f"{beside}; {allowed:g} less is allowed."
    floor = chance.means[METRIC]
    if low <= 0 and theirs.means[METRIC] <= floor + allowed:
        return "inconclusive", f"{beside}; {name} is so near to chance ({floor:.3f}) that a loss cannot be seen."
    if low >= -allowed:
        return "pass", f"{beside}; no more than {allowed:g} less is left possible."
    return (
        "inconclusive",
        f"{beside}; more than {allowed:g} less is neither shown nor ruled out{_more(apart, theirs, allowed)}.",
    )


def _more(apart: Difference, theirs: Scores, allowed: float) -> str:
    """How many samples would tell if the difference stayed: an interval shrinks with the root of their number."""
    margin = abs(apart.mean + allowed)
    half = (apart.interval[1] - apart.interval[0]) / 2
    needed = math.ceil(len(theirs) * (half / margin) ** 2 * 1.2) if margin > 0 else math.inf
    return f"; about {needed:,} samples would tell" if len(theirs) < needed < 100_000 else ""
