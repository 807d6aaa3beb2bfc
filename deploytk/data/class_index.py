"""The class index: which number stands for which label, in one file that training, export and deployment share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploytk.errors import InputError
from deploytk.files import sha256_of_value, write_json


@dataclass(frozen=True, kw_only=True)
class ClassIndex:
    """The labels in the order of their ids."""

    classes: tuple[str, ...]

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """label -> id."""
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def sha256(self) -> str:
        """Of the labels in their order: equal where ids mean the same."""
        return sha256_of_value(list(self.classes))

    def id_of(self, label: str) -> int:
        """The id of a label.

        Raises:
            InputError: it has none.
        """
        if label not in self.ids:
            raise InputError(f"no class {label!r} among the {len(self.classes):,} of the class index")
        return self.ids[label]


def of_labels(labels: Iterable[str]) -> ClassIndex:
    """The index of these labels, whatever their order: sorted by code points, as ImageFolder sorts folders."""
    return ClassIndex(classes=tuple(sorted(set(labels))))


def write(path: Path, index: ClassIndex) -> None:
    """Write the index to `path`, whole or not at all."""
    write_json(path, {"classes": index.ids, "sha256": index.sha256})


def read(path: Path) -> ClassIndex:
    """The index in a file that `write` wrote.

    Raises:
        InputError: it is missing, is no such file, or was changed since.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no readable class index ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: no class index: not JSON ({error})") from error
    return _checked(path, told)


def _checked(path: Path, told: object) -> ClassIndex:
    ids = told.get("classes") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(ids, dict) or "sha256" not in told:
        raise InputError(f"{path}: no class index; make one with: deploytk data check train.csv --class-index {path}")
    if sorted(map(repr, ids.values())) != sorted(map(repr, range(len(ids)))):
        raise InputError(f"{path}: its ids are not 0 to {len(ids) - 1}, each once; make it again")
    index = ClassIndex(classes=tuple(sorted(ids, key=lambda name: int(ids[name]))))
    if index.sha256 != told["sha256"]:
        raise InputError(f"{path}: its classes do not fit its sha256: it was changed by hand; make it again")
    return index
