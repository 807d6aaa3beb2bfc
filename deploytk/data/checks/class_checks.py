"""Classes that are rare, missing in train, or far more frequent than others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploytk.data.checks.label_checks import Labels
from deploytk.data.checks.rules import Imbalance, NotInTrain, OnlyElsewhere, Problem, Rare

#: Objects of the most frequent against those of the rarest class; and so few are rare.
IMBALANCE, RARE = 100, 10


def counts(classes: Sequence[str], splits: Mapping[str, Sequence[Labels]]) -> dict[str, dict[str, int]]:
    """class -> split -> objects."""
    counted = {split: Counter(line.label for each in of for line in each.lines) for split, of in splits.items()}
    return {name: {split: counted[split][i] for split in splits} for i, name in enumerate(classes)}


def check(source: Path, counted: Mapping[str, Mapping[str, int]]) -> Iterator[Problem]:
    """What is wrong with the classes; nothing where there is no train to look at."""
    trained = {name: of["train"] for name, of in counted.items() if "train" in of}
    for name, objects in trained.items():
        yield from _one(source, name, objects, {s: n for s, n in counted[name].items() if s != "train" and n})
    seen = {name: objects for name, objects in trained.items() if objects}
    if not seen:
        return
    most, least = max(seen, key=lambda n: seen[n]), min(seen, key=lambda n: seen[n])
    if seen[most] >= IMBALANCE * seen[least]:
        said = f"{seen[most]} objects of {most}, {seen[least]} of {least}"
        yield Problem(rule=Imbalance, file=source, said=said)


def _one(source: Path, name: str, objects: int, elsewhere: Mapping[str, int]) -> Iterator[Problem]:
    if objects:
        if objects < RARE:
            yield Problem(rule=Rare, file=source, said=f"{name}: {_objects(objects)} in train")
    elif elsewhere:
        told = " and ".join(f"{_objects(n)} in {split}" for split, n in elsewhere.items())
        yield Problem(rule=OnlyElsewhere, file=source, said=f"{name}: {told}, none in train")
    else:
        yield Problem(rule=NotInTrain, file=source, said=f"{name}: no object in any split")


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"
