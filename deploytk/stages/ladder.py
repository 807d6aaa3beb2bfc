"""The INT8 ladder: which quantized models are tried, in which order, and which of them is taken.

It knows no target. A rung is one way to quantize; an attempt is what came of it: accuracy, latency beside float, size.
The first attempt that keeps the accuracy and is not slower than float is taken; all of them stay in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deploytk.artifact import Artifact
from deploytk.recipe import Correction, Recipe

#: How many of the most sensitive layers are kept in float, rung by rung.
KEPT_IN_FLOAT = (1, 3, 8, 16)
#: Two layers that lose as much within so many dB count as alike: then the one in the detect head goes first.
ALIKE_DB = 3.0

Way = Literal["quantize", "accuracy_control", "qat"]
#: met: taken. dropped: lost too much accuracy. slower: than float. refused: no working INT8 model. failed: a crash.
Outcome = Literal["met", "dropped", "slower", "refused", "failed"]

#: What a target tells of one layer that is INT8 alone: node, op and sqnr_db.
Sensitivity = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to make the INT8 model. `name` is unique within a ladder, and also names its file."""

    name: str
    what: str  # in words: "3 layers in float"
    way: Way = "quantize"
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of one rung. `speed` is {ratio, low, high, verdict}: how many times as long as float it takes."""

    rung: Rung
    outcome: Outcome
    reason: str
    metric: float | None = None
    drop: float | None = None  # of the metric, 0..1
    speed: Mapping[str, Any] = field(default_factory=dict)
    size_bytes: int | None = None
    seconds: float = 0.0
    artifact: Artifact | None = None

    def as_dict(self) -> dict[str, Any]:
        """The attempt as JSON-like values; its artifact is told by its file and sha256."""
        made = self.artifact
        values = {"file": made.path.name, "sha256": made.sha256, "facts": made.settings["facts"]} if made else {}
        told = ("outcome", "reason", "metric", "drop", "size_bytes", "seconds")
        return {
            "rung": self.rung.name,
            "what": self.rung.what,
            "recipe": self.rung.recipe.as_dict(),
            **{name: getattr(self, name) for name in told},
            "speed": dict(self.speed),
            **values,
        }


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The rungs that a target has.

    Args:
        sensitive: the layers that a target can keep in float, the one to keep first at the front: measured when full
            INT8 was not enough. None where the target cannot keep any.
        corrections: tried in this order, with the layers of the best attempt so far in float.
        accuracy_control: whether the target can search by itself for layers to keep in float.
        training_epochs: of quantization-aware training, quantized as the best attempt was; 0 for none.
    """

    sensitive: Callable[[], Sequence[str]] | None = None
    corrections: tuple[Correction, ...] = ()
    accuracy_control: bool = False
    training_epochs: int = 0


def climb(ladder: Ladder, attempt: Callable[[Rung], Attempt]) -> tuple[Attempt, ...]:
    """The attempts in their order; only the last one can be "met", and where it is not, none was."""
    made: list[Attempt] = []
    for rung in _rungs(ladder, made):
        if _hopeless(rung, made):
            continue
        made.append(attempt(rung))
        if made[-1].outcome == "met":
            break
    return tuple(made)


def taken(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that is deployed; None where the float model is."""
    return next((a for a in attempts if a.outcome == "met"), None)


def least_lost(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that kept most of the accuracy; None where none could be scored."""
    scored = [a for a in attempts if a.drop is not None]
    return min(scored, key=lambda a: a.drop or 0.0, default=None)


def ranked(sensitivities: Sequence[Sensitivity], head: str) -> list[str]:
    """The nodes, the one that loses most first; among alike ones those of the detect head.

    Args:
        head: what the names of the head's nodes begin with; "" where the model has none.
    """

    def place(told: Sensitivity) -> tuple[float, bool, float]:
        in_head = bool(head) and str(told["node"]).startswith(head)
        return told["sqnr_db"] // ALIKE_DB, not in_head, told["sqnr_db"]

    return [str(told["node"]) for told in sorted(sensitivities, key=place)]


def _rungs(ladder: Ladder, made: Sequence[Attempt]) -> Iterator[Rung]:
    """Every rung up to float. `made` grows while this is read: later rungs build on the best attempt before them."""
    yield Rung(name="full", what="full INT8")
    if ladder.sensitive and not _slower_throughout(made):
        yield from _kept_in_float(ladder.sensitive())
    best = _best(made)
    for correction in ladder.corrections:
        what = f"{_words(correction)}{_layers(best)}"
        yield Rung(name=correction, what=what, recipe=replace(best, correction=correction))
    if ladder.accuracy_control:
        yield Rung(name="control", what="accuracy control", way="accuracy_control")
    if ladder.training_epochs:
        best = _best(made)
        what = f"{_epochs(ladder.training_epochs)} of quantization-aware training{_corrected(best)}{_layers(best)}"
        yield Rung(name="qat", what=what, way="qat", recipe=best)


def _kept_in_float(nodes: Sequence[str]) -> Iterator[Rung]:
    for count in KEPT_IN_FLOAT:
        if count < len(nodes):  # with all of them in float it would be no INT8 model
            recipe = Recipe(float_nodes=tuple(nodes[:count]))
            yield Rung(name=f"float-{count}", what=f"INT8{_layers(recipe)}", recipe=recipe)


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _words(correction: Correction) -> str:
    return correction.replace("_", " ")


def _corrected(recipe: Recipe) -> str:
    return "" if recipe.correction == "none" else f", {_words(recipe.correction)}"


def _layers(recipe: Recipe) -> str:
    count = len(recipe.float_nodes)
    return f", {count} layer{'' if count == 1 else 's'} in float" if count else ""


def _best(made: Sequence[Attempt]) -> Recipe:
    """The recipe of the plainly quantized attempt that lost least; where none could be scored, that of the last one."""
    plain = [a for a in made if a.rung.way == "quantize"]
    return (least_lost([a for a in plain if a.outcome != "slower"]) or plain[-1]).rung.recipe


def _hopeless(rung: Rung, made: Sequence[Attempt]) -> bool:
    """Whether a plain INT8 model with no more layers in float than this one was slower than float already."""
    return any(
        a.outcome == "slower"
        and a.rung.recipe.correction == "none"
        and set(a.rung.recipe.float_nodes) <= set(rung.recipe.float_nodes)
        for a in made
    )


def _slower_throughout(made: Sequence[Attempt]) -> bool:
    """Whether full INT8 was slower than float: then no layer's sensitivity needs to be measured."""
    return any(a.outcome == "slower" and not a.rung.recipe.float_nodes for a in made)
