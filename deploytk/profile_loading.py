"""Profiles from YAML: names by slug, `extends`, overrides, and an error with file and line for each wrong key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploytk import resources, strict_yaml
from deploytk.errors import ProfileError
from deploytk.plugins import suggestion
from deploytk.profile import COMMON, PATH_FIELDS, Npu, Profile
from deploytk.strict_yaml import Loc, Source, Words

#: Read out of the file before it becomes a Profile.
_EXTENDS = "extends"
_WORDS = Words(what="profile file", error=ProfileError, first="{path}:{line}", missing="Field required")


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
        parts = source.values.get("parts")
        for part in parts if isinstance(parts, dict) and loc[0] in COMMON else ():
            _put(source, ("parts", part, *loc), value)
    return strict_yaml.validated(Profile, source, _WORDS, also=(_EXTENDS,))


def load_npu(name: str) -> Npu:
    """The NPU preset called `name` ("ethos-u55-256", "U55-256"), or in the YAML file `name`."""
    folder = resources.folder("profiles") / "npu"
    if _is_path(name):
        return strict_yaml.validated(Npu, _read(_existing(Path(name)), seen=()), _WORDS)
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    wanted = slug(name) if slug(name).startswith("ethos") else f"ethos-{slug(name)}"
    if wanted not in known:
        raise ProfileError(
            f"there is no NPU preset {name!r}{suggestion(wanted, known)}\nKnown: {', '.join(known)}, or a YAML file"
        )
    return strict_yaml.validated(Npu, _read(known[wanted], seen=()), _WORDS)


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


def _read(path: Path, *, seen: tuple[Path, ...]) -> Source:
    """The values of `path` over those of the profile it extends."""
    if path.resolve() in seen:
        raise ProfileError(f"{path}: extends itself through {' -> '.join(p.name for p in seen)}")
    source = _parse(path)
    parent = source.values.pop(_EXTENDS, None)
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


def _parse(path: Path) -> Source:
    """The values of one YAML file with the line of each; relative paths made relative to that file."""
    source = strict_yaml.parse(path, _WORDS)
    for loc in PATH_FIELDS:
        _resolve(source.values, loc, path.parent)
    return source


def _resolve(values: dict[str, Any], loc: Loc, folder: Path) -> None:
    part: Any = values
    for key in loc[:-1]:
        part = part.get(key) if isinstance(part, dict) else None
    if isinstance(part, dict) and isinstance(part.get(loc[-1]), str):
        part[loc[-1]] = str((folder / Path(part[loc[-1]]).expanduser()).resolve())


def _put(source: Source, loc: Loc, value: Any) -> None:
    part = source.values
    for key in loc[:-1]:
        part = part.setdefault(str(key), {})
        if not isinstance(part, dict):
            return  # the profile is wrong there, and is told so
    part[str(loc[-1])] = value
    source.origins[loc] = "command line"
