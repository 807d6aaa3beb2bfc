"""The samples that text models are asked: the same for all, and none that one of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.stages.text_models import run_of
from deploytk.text import pairs
from deploytk.text.description import Described
from deploytk.text.pairs import Pair


def data_of(model: Described) -> Path:
    """The table that the run was trained with in whose folder a model stands.

    Raises:
        InputError: it stands in none, or the run does not say.
    """
    run = run_of(model)
    path = run.profile().data.path if run else None
    if path is None:
        raise InputError(f"{model.folder}: no texts to answer; give --data FILE with a column of them")
    return path


def drawn(
    described: Sequence[Described], data: Path, columns: tuple[str, str], count: int, seed: int
) -> tuple[tuple[Pair, ...], dict[str, Any]]:
    """(the samples, what the report says of them): none that one of the models was trained on, as far as is known.

    Raises:
        InputError: the data cannot be read, a column is not there, or all of it was trained on.
    """
    found = pairs.held_out(data, *columns)
    trained, unknown = set[str](), []
    for number, one in enumerate(described):
        sources = _trained_on(one)
        if sources is None:
            unknown.append(name_of(number))
        trained |= sources or set()
    new = [pair for pair in found if pair.source not in trained]
    if not new:
        raise InputError(f"{data}: all {len(found)} pairs are among what a model was trained on; give others")
    asked = pairs.drawn(new, count, seed)
    return asked, {
        "data": str(data),
        "columns": list(columns),
        "seed": seed,
        "pairs": len(found),
        "trained_on": len(found) - len(new),
        "training_unknown": unknown,
        "samples": len(asked),
        "digest": pairs.digest(asked),
    }


def name_of(number: int) -> str:
    """What the report calls a model: the first one is compared with the others."""
    return "model" if number == 0 else f"against-{number}"


def _trained_on(model: Described) -> set[str] | None:
    """The texts that a model was trained on; None where its run or its data are not there to tell."""
    run = run_of(model)
    if run is None:
        return None
    try:
        profile = run.profile()
        return {pair.source for pair in pairs.read(profile).train} if profile.text else None
    except InputError:
        return None
