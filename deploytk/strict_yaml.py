"""Strict YAML: each value with the line it was written in; a sentence with file, line and key for each wrong one."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from deploytk.errors import InputError
from deploytk.plugins import suggestion

Loc = tuple[str | int, ...]
Model = typing.TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Unknown keys are errors and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, kw_only=True)
class Words:
    """How one kind of file speaks of what is wrong in it."""

    what: str  # "preparation file"
    error: type[InputError] = InputError
    malformed: str = "not valid YAML"
    #: Where a key that is written twice was written first: of {path} and {line}.
    first: str = "line {line}"
    #: Of {section} ("budget: " or nothing), {key} and {path} ("budget.latncy_ms").
    unknown: str = "{section}unknown key {key!r}"
    missing: str = "is missing"


@dataclass
class Source:
    """The raw values of a file, and for each of them the file and line it was written in."""

    values: dict[str, Any]
    origins: dict[Loc, str]

    def origin(self, loc: Loc) -> str:
        """`file:line` of the nearest place that was written; the file alone where that is the whole."""
        return next(self.origins[loc[:end]] for end in range(len(loc), -1, -1) if loc[:end] in self.origins)


def read(model: type[Model], path: Path, words: Words) -> Model:
    """The value that the file at `path` states.

    Raises:
        InputError (`words.error`): no readable file, or one reason for each wrong line.
    """
    return validated(model, parse(path, words), words)


def parse(path: Path, words: Words) -> Source:
    """The values of one YAML file with the line of each.

    Raises:
        InputError (`words.error`): no readable YAML mapping, or a key that is written twice.
    """
    node, values = _composed(path, words)
    if not isinstance(values, dict) or node is None:
        raise words.error(f"{path}: empty, or not a mapping of keys to values")
    lines: dict[Loc, int] = {}
    try:
        written = list(_lines(node, ()))
    except RecursionError as error:
        raise words.error(f"{path}: an alias (*) stands inside its own anchor (&)") from error
    for loc, line in written:
        if loc in lines:
            first = words.first.format(path=path, line=lines[loc])
            raise words.error(f"{path}:{line}: {_dotted(loc)}: written twice ({first} too)")
        lines[loc] = line
    return Source(values, {(): str(path)} | {loc: f"{path}:{line}" for loc, line in lines.items()})


def validated(model: type[Model], source: Source, words: Words, also: tuple[str, ...] = ()) -> Model:
    """The value that `source` states.

    Args:
        also: keys of the whole file that the caller has taken out, for suggestions.

    Raises:
        InputError (`words.error`): one reason for each wrong line.
    """
    try:
        return model.model_validate(source.values)
    except ValidationError as error:
        reasons = tuple(_sentence(model, source, dict(e), words, also) for e in error.errors())
        raise words.error("\n".join(reasons), reasons=reasons) from error


def _composed(path: Path, words: Words) -> tuple[yaml.Node | None, Any]:
    """The nodes of a file, which know their lines, and the values made of them."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise words.error(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise words.error(f"{path}: no readable {words.what} ({error.strerror})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        raise words.error(f"{path}{at}: {words.malformed}: {getattr(error, 'problem', error)}") from error


def _lines(node: yaml.Node, loc: Loc) -> Iterator[tuple[Loc, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*loc, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*loc, index), item.start_mark.line + 1
            yield from _lines(item, (*loc, index))


def _sentence(
    model: type[BaseModel], source: Source, error: dict[str, Any], words: Words, also: tuple[str, ...]
) -> str:
    """`file:line: path.to: what is wrong; what to do`."""
    loc: Loc = error["loc"]
    where = source.origin(loc)
    if error["type"] == "extra_forbidden":
        section, key = _dotted(loc[:-1]), str(loc[-1])
        known = [*_keys_at(model, loc[:-1]), *(also if len(loc) == 1 else ())]
        hint = suggestion(key, known) or f"; known: {', '.join(known)}"
        told = words.unknown.format(section=f"{section}: " if section else "", key=key, path=_dotted(loc))
        return f"{where}: {told}{hint}"
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        what = words.missing
    if error["type"] == "model_type":
        what = "must be a mapping of keys to values"
    given = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    return ": ".join([where, *([_dotted(loc)] if loc else []), f"{what}{given}"])


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that may stand at `loc`."""
    for part in loc:
        if isinstance(part, int):
            continue  # an item of a list: its keys are those of the list's model
        inner = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Quantization`, `Quantization | None` or `tuple[Entry, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)


def _dotted(loc: Loc) -> str:
    return ".".join(map(str, loc))
