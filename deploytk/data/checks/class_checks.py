"""Classes that are rare, missing in train, or far more frequent than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploytk.data.checks.label_checks import Labels
from deploytk.data.checks.rules import Imbalance, NotInTrain, OnlyElsewhere, Problem, Rare, Rule

#: Objects of the most frequent against those of the rarest class; and so few are rare.
IMBALANCE, RARE = 100, 10


def counts(classes: Sequence[str], splits: Mapping[str, Sequence[Labels]]) -> dict[str, dict[str, int]]:
    """class -> split -> objects."""
    counted = {split: Counter(line.label for each in of for line in each.lines) for split, of in splits.items()}
    return {name: {split: counted[split][i] for split in splits} for i, name in enumerate(classes)}


def check(
    source: Path, counted: Mapping[str, Mapping[str, int]], *, least: int = RARE, what: str = "object"
) -> Iterator[Problem]:
    """What is wrong with the classes; nothing where there is no train to look at.

    Args:
        least: with fewer in train a class is rare.
        what: is counted: "object", "image".
    """
    trained = {name: of["train"] for name, of in counted.items() if "train" in of}
    for name, objects in trained.items():
        elsewhere = {s: n for s, n in counted[name].items() if s != "train" and n}
        wrong = _one(name, objects, elsewhere, least, what)
        if wrong is not None:
            yield Problem(rule=wrong[0], file=source, said=wrong[1])
    seen = {name: objects for name, objects in trained.items() if objects}
    if not seen:
        return
    most, least_of = max(seen, key=lambda n: seen[n]), min(seen, key=lambda n: seen[n])
    if seen[most] >= IMBALANCE * seen[least_of]:
        said = f"{seen[most]} {what}s of {most}, {seen[least_of]} of {least_of}"
        yield Problem(rule=Imbalance, file=source, said=said)


def _one(name: str, count: int, elsewhere: Mapping[str, int], least: int, what: str) -> tuple[type[Rule], str] | None:
    if count:
        return (Rare, f"{name}: {_counted(count, what)} in train") if count < least else None
    if elsewhere:
        told = " and ".join(f"{_counted(n, what)} in {split}" for split, n in elsewhere.items())
        return OnlyElsewhere, f"{name}: {told}, none in train"
    return NotInTrain, f"{name}: no {what} in any split"


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
