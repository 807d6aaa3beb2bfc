"""Profiles from YAML: names by slug, `extends`, overrides, and an error with file and line for each wrong key."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from deploytk import resources
from deploytk.errors import ProfileError
from deploytk.plugins import suggestion
from deploytk.profile import PATH_FIELDS, Npu, Profile

Loc = tuple[str | int, ...]
Model = typing.TypeVar("Model", bound=BaseModel)


@dataclass
class _Source:
    """Merged raw values, and for each of them the file and line it was written in."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[Loc, str] = field(default_factory=dict)

    def origin(self, loc: Loc) -> str:
        """`file:line` of the nearest place that was written."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self.origins:
                return self.origins[loc[:end]]
        return "profile"


def slug(name: str) -> str:
    """The canonical form of a profile name: case, `-`, `_`, `.` and spaces alike, "leaked" meaning "leaky"."""
    return re.sub(r"[-_.\s]+", "-", name.strip().lower()).strip("-").replace("leaked", "leaky")


def load(name: str, overrides: Mapping[Loc, Any] | None = None) -> Profile:
    """The profile called `name`, or in the file `name`.

    Args:
        overrides: {("train", "epochs"): 3}: values from the command line, which win.

    Raises:
        ProfileError: one reason for each wrong line.
    """
    source = _read(find(name), seen=())
    for loc, value in (overrides or {}).items():
        _put(source, loc, value)
    return _validated(Profile, source)


def load_npu(name: str) -> Npu:
    """The NPU preset called `name` ("ethos-u55-256", "U55-256"), or in the YAML file `name`."""
    folder = resources.folder("profiles") / "npu"
    if _is_path(name):
        return _validated(Npu, _read(_existing(Path(name)), seen=()))
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    wanted = slug(name) if slug(name).startswith("ethos") else f"ethos-{slug(name)}"
    if wanted not in known:
        raise ProfileError(
            f"there is no NPU preset {name!r}{suggestion(wanted, known)}\nKnown: {', '.join(known)}, or a YAML file"
        )
    return _validated(Npu, _read(known[wanted], seen=()))


def npu_presets() -> list[str]:
    """The names of the shipped NPU presets."""
    return sorted(path.stem for path in (resources.folder("profiles") / "npu").glob("*.yaml"))


def shipped() -> dict[str, Path]:
    """The shipped profiles: name -> file."""
    return {path.stem: path for path in sorted(resources.folder("profiles").glob("*.yaml"))}


def find(name: str) -> Path:
    """The file of the profile called `name`: a path, a shipped name, or one of its aliases.

    Raises:
        ProfileError: there is none; the message lists what was tried and suggests.
    """
    if _is_path(name):
        return _existing(Path(name))
    index = _index()
    found = index.get(slug(name))
    if found is None:
        beside = Path(f"{name}.yaml")
        if beside.is_file():
            return beside
        raise ProfileError(
            f"there is no profile {name!r}{suggestion(slug(name), index)}\n"
            f"Tried: {beside} and the shipped profiles and aliases {', '.join(sorted(index))}"
        )
    return found


def _index() -> dict[str, Path]:
    """Every slug a shipped profile answers to."""
    found: dict[str, Path] = {}
    for name, path in shipped().items():
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for alias in (name, *raw.get("aliases", ())):
            found[slug(alias)] = path
    return found


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ProfileError(f"{path}: no such profile file; list the shipped ones with: deploytk profiles list")
    return path


def _read(path: Path, *, seen: tuple[Path, ...]) -> _Source:
    """The values of `path` over those of the profile it extends."""
    if path.resolve() in seen:
        raise ProfileError(f"{path}: extends itself through {' -> '.join(p.name for p in seen)}")
    source = _parse(path)
    parent = source.values.pop("extends", None)
    if parent is None:
        return source
    if not isinstance(parent, str):
        raise ProfileError(f"{source.origin(('extends',))}: extends: must be one name or file, not {parent!r}")
    beside = path.parent / parent
    try:
        above = beside if _is_path(parent) and beside.is_file() else find(parent)
    except ProfileError as error:
        raise ProfileError(f"{source.origin(('extends',))}: extends: {error.message}") from error
    base = _read(above, seen=(*seen, path.resolve()))
    base.values.pop("aliases", None)
    _merge(base.values, source.values)
    base.origins |= source.origins
    return base


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _parse(path: Path) -> _Source:
    """The values of one YAML file with the line of each; relative paths made relative to that file."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        raise ProfileError(f"{path}{at}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(values, dict) or node is None:
        raise ProfileError(f"{path}: empty, or not a mapping of keys to values")
    source = _Source(values, {(): str(path)})
    try:
        written = list(_lines(node, ()))
    except RecursionError as error:
        raise ProfileError(f"{path}: an alias (*) stands inside its own anchor (&)") from error
    for loc, line in written:
        if loc in source.origins:
            raise ProfileError(f"{path}:{line}: {'.'.join(map(str, loc))}: written twice ({source.origins[loc]} too)")
        source.origins[loc] = f"{path}:{line}"
    for loc in PATH_FIELDS:
        _resolve(values, loc, path.parent)
    return source


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


def _resolve(values: dict[str, Any], loc: Loc, folder: Path) -> None:
    part: Any = values
    for key in loc[:-1]:
        part = part.get(key) if isinstance(part, dict) else None
    if isinstance(part, dict) and isinstance(part.get(loc[-1]), str):
        part[loc[-1]] = str((folder / Path(part[loc[-1]]).expanduser()).resolve())


def _put(source: _Source, loc: Loc, value: Any) -> None:
    part = source.values
    for key in loc[:-1]:
        part = part.setdefault(str(key), {})
        if not isinstance(part, dict):
            return  # the profile is wrong there, and is told so
    part[str(loc[-1])] = value
    source.origins[loc] = "command line"


def _validated(model: type[Model], source: _Source) -> Model:
    try:
        return model.model_validate(source.values)
    except ValidationError as error:
        reasons = tuple(_sentence(model, source, dict(e)) for e in error.errors())
        raise ProfileError("\n".join(reasons), reasons=reasons) from error


def _sentence(model: type[BaseModel], source: _Source, error: dict[str, Any]) -> str:
    """`file:line: path.to: what is wrong; what to do`."""
    loc: Loc = error["loc"]
    where = source.origin(loc)
    if error["type"] == "extra_forbidden":
        section = ".".join(str(p) for p in loc[:-1])
        known = _keys_at(model, loc[:-1])
        hint = suggestion(str(loc[-1]), known) or f"; known: {', '.join(known)}"
        return f"{where}: {section + ': ' if section else ''}unknown key {str(loc[-1])!r}{hint}"
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "model_type":
        what = "must be a mapping of keys to values"
    given = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    return ": ".join([where, *([".".join(map(str, loc))] if loc else []), f"{what}{given}"])


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys a profile may have at `loc`."""
    for part in loc:
        inner = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    extra = ["extends"] if model is Profile else []
    return [f.alias or name for name, f in model.model_fields.items()] + extra
