"""A model made of modules of several epochs: which tensors a module has, and which swaps are accepted. No library."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from deploytk.errors import InputError
from deploytk.training.averaging import Weights
from deploytk.training.sweetspots import Spot

#: A change must gain more than this: metrics are told to three digits, and rounding alone moves the fourth.
MARGIN = 0.001

Part = Literal["choosing", "held_out"]
Sample = TypeVar("Sample")


class Evaluator(Protocol):
    """What a backend offers so that weights can be looked at one by one (`backend.evaluator(profile, run)`)."""

    def modules(self) -> dict[str, list[str]]:
        """The modules of the network by name: the prefixes of their tensors' names."""

    def parts(self) -> dict[str, Any]:
        """`{"choosing": images, "held_out": images, "of": what they were taken from, in words}`; never overlapping."""

    def weights(self, checkpoint: Path, *, averaged: bool = True) -> Weights:
        """The weights in a checkpoint: the moving average, or those that were trained. InputError: damaged."""

    def settled(self, weights: Weights) -> Weights:
        """The weights with batch-norm statistics of their own; as they are where the network has none."""

    def score(self, weights: Weights, part: Part) -> float:
        """What trainings are compared by (PRIMARY), on one part of the validation images."""

    def write(self, weights: Weights, path: Path) -> None:
        """Write a model file as `finish_training` does."""


def halves(count: int, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(indices to choose by, indices held out) of `count` images: disjoint, by seed, the first at most one more.

    Raises:
        InputError: there are fewer than two.
    """
    if count < 2:
        raise InputError(f"{count} validation image: some to choose by and some to judge by are needed, give more")
    order = list(range(count))
    random.Random(seed).shuffle(order)
    middle = (count + 1) // 2
    return tuple(sorted(order[:middle])), tuple(sorted(order[middle:]))


def divided(val: Sequence[Sample], test: Sequence[Sample], seed: int) -> tuple[dict[Part, list[Sample]], str]:
    """(what to choose by and what is held out, where both are from): validation and test, or halves of validation."""
    if test:
        return {"choosing": list(val), "held_out": list(test)}, "the validation split, and the test split"
    choosing, held_out = halves(len(val), seed)
    parts: dict[Part, list[Sample]] = {"choosing": [val[i] for i in choosing], "held_out": [val[i] for i in held_out]}
    return parts, f"two halves of the validation split, drawn with seed {seed}"


_RANGE = re.compile(r"(.*?)(\d+)-(\d+)$")


def groups(text: str) -> dict[str, list[str]]:
    """`backbone=model.0-9,head=model.22` as prefixes by name; several for one module are joined by +.

    Raises:
        InputError: it cannot be read so.
    """
    found: dict[str, list[str]] = {}
    for word in text.split(","):
        name, equals, told = (part.strip() for part in word.partition("="))
        if not (name and equals and told):
            raise InputError(f"--modules: {word.strip()!r}: write NAME=PREFIX, as in backbone=model.0-9,head=model.22")
        if name in found:
            raise InputError(f"--modules: {name} is named twice; join its prefixes with +")
        found[name] = [prefix for one in told.split("+") for prefix in _prefixes(one.strip())]
    return found


def _prefixes(told: str) -> list[str]:
    """`model.0-2` is model.0, model.1 and model.2."""
    ranged = _RANGE.fullmatch(told)
    if not ranged:
        return [told]
    first, last = int(ranged[2]), int(ranged[3])
    if not first <= last < first + 10_000:
        raise InputError(f"--modules: {told}: from a smaller to a larger number")
    return [f"{ranged[1]}{n}" for n in range(first, last + 1)]


def members(names: Iterable[str], modules: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The tensors of each module. Those of none are never swapped.

    Raises:
        InputError: a module without any (single layers may have none: an upsampling), or a tensor in two modules.
    """
    known = list(names)
    found: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for module, prefixes in modules.items():
        found[module] = []
        for prefix in prefixes:
            under = [n for n in known if _under(n, prefix)]
            for name in under:
                if owner.setdefault(name, module) != module:
                    raise InputError(f"--modules: {name} is in {owner[name]} and in {module}")
            found[module] += [n for n in under if n not in found[module]]
        if not found[module]:
            raise InputError(f"--modules: {module}: no tensor is called {prefixes[0]}...; the first is {known[0]}")
    return found


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")


def grafted(base: Weights, donor: Weights, names: Iterable[str]) -> Weights:
    """`base` with the tensors called `names` of `donor`."""
    return {**base, **{name: donor[name] for name in names}}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A swap that was tried: a module's weights of another epoch."""

    module: str
    epoch: int
    before: float
    score: float
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What greedy crossover came to."""

    origin: Mapping[str, int]  # module -> the epoch its weights are of
    start: float
    score: float  # never below start
    tried: tuple[Tried, ...]

    @property
    def swapped(self) -> bool:
        """Whether a swap was accepted."""
        return any(t.accepted for t in self.tried)

    def as_dict(self) -> dict[str, Any]:
        """The crossing as JSON-like values."""
        tried = [asdict(t) for t in self.tried]
        told = {"origin": dict(self.origin), "start": self.start, "score": self.score}
        return {**told, "swapped": self.swapped, "tried": tried}


def greedy(
    spots: Sequence[Spot], *, home: int, start: float, score_of: Callable[[Mapping[str, int]], float]
) -> Crossing:
    """Each module's sweet spot tried once, the most promising first; kept only where the score rises by MARGIN.

    Args:
        home: the epoch that all modules are of at first.
        start: the score of that model.
        score_of: the score of the model whose modules are of these epochs.
    """
    origin, best, tried = {s.module: home for s in spots}, start, []
    for found in sorted(spots, key=lambda s: s.gain, reverse=True):
        if found.gain <= 0 or found.peak_epoch == home:
            continue
        score = score_of({**origin, found.module: found.peak_epoch})
        accepted = score > best + MARGIN
        tried.append(Tried(module=found.module, epoch=found.peak_epoch, before=best, score=score, accepted=accepted))
        if accepted:
            origin, best = {**origin, found.module: found.peak_epoch}, score
    return Crossing(origin=origin, start=start, score=best, tried=tuple(tried))
