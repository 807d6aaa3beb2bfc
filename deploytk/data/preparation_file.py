"""A preparation by its name, or from a YAML file, with an error with file and line for each wrong key."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from deploytk import strict_yaml
from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Preparation, Task, facts_of
from deploytk.errors import InputError
from deploytk.plugins import suggestion

_SUFFIXES = (".yaml", ".yml")
_WORDS = strict_yaml.Words(what="preparation file", unknown="unknown key {path!r}")


def load(name: str, spec: TensorSpec) -> Preparation:
    """The preparation called `name` ("detector", "classifier"), or in the file `name`, for an input of a model.

    What a file does not say (size, layout, colour, dtype, quantization) is taken from the input.

    Raises:
        InputError: no such name or file, a wrong key or value, or inputs that the model does not take.
    """
    tasks: tuple[Task, ...] = get_args(Task)
    for task in tasks:
        if name == task:
            return Preparation.for_input(spec, task)
    if not name.endswith(_SUFFIXES):
        raise InputError(
            f"there is no preparation {name!r}{suggestion(name, tasks)} Known: {', '.join(tasks)}, or a YAML file"
        )
    path = Path(name)
    source = strict_yaml.parse(path, _WORDS)
    source.values = facts_of(spec) | source.values
    made = strict_yaml.validated(Preparation, source, _WORDS)
    try:
        made.require_fit(spec)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    return made


def stated(path: Path) -> Preparation:
    """The preparation that a file states by itself, size and all, without a model to take anything from.

    Raises:
        InputError: no such file, or a key or value that is missing or wrong.
    """
    return strict_yaml.read(Preparation, path, _WORDS)
