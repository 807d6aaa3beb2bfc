"""A preparation by its name, or from a YAML file, with an error with file and line for each wrong key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Preparation, Quantization, Task, facts_of
from deploytk.errors import InputError
from deploytk.plugins import suggestion

_SUFFIXES = (".yaml", ".yml")


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
    values, lines = _parsed(path)
    made = _validated(facts_of(spec) | values, lines, path)
    try:
        made.require_fit(spec)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
    return made


def _parsed(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of the file, and the line of each key ("quantization.scale" for one inside another)."""
    try:
        text = path.read_text(encoding="utf-8")
        node, values = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: no readable preparation file ({error.strerror})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{at}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}: empty, or not a mapping of keys to values")
    return values, _lines(node, "", path)


def _lines(node: yaml.MappingNode, above: str, path: Path) -> dict[str, int]:
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = f"{above}{key.value}", key.start_mark.line + 1
        if name in lines:
            raise InputError(f"{path}:{line}: {name}: written twice (line {lines[name]} too)")
        lines[name] = line
        if isinstance(value, yaml.MappingNode) and not above:
            lines |= _lines(value, f"{name}.", path)
    return lines


def _validated(values: dict[str, Any], lines: dict[str, int], path: Path) -> Preparation:
    try:
        return Preparation.model_validate(values)
    except ValidationError as error:
        reasons = tuple(_sentence(dict(e), lines, path) for e in error.errors())
        raise InputError("\n".join(reasons), reasons=reasons) from error


def _sentence(error: dict[str, Any], lines: dict[str, int], path: Path) -> str:
    """`file:line: path.to: what is wrong; what to do`."""
    loc = [str(part) for part in error["loc"]]
    line = next((lines[k] for end in range(len(loc), 0, -1) if (k := ".".join(loc[:end])) in lines), None)
    where = f"{path}:{line}" if line else str(path)
    if error["type"] == "extra_forbidden":
        known = list((Quantization if len(loc) > 1 else Preparation).model_fields)
        hint = suggestion(loc[-1], known) or f"; known: {', '.join(known)}"
        return f"{where}: unknown key {'.'.join(loc)!r}{hint}"
    if error["type"] == "missing":
        return f"{where}: {'.'.join(loc)}: is missing"
    given = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    return ": ".join([where, *([".".join(loc)] if loc else []), error["msg"].removeprefix("Value error, ") + given])
