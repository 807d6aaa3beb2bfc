"""text.json: what makes a folder with a text model answer as it was trained to; every wrong key is told.

It stands beside the model's own files (config.json, tokenizer.json, the weights), each of which must have the sha256
that it names. A trained model has one (RUN/model/), and so has everything that is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from deploytk import strict_yaml
from deploytk.errors import InputError
from deploytk.files import sha256_of, write_json
from deploytk.profile_text import SOURCE, Rouge, Text
from deploytk.strict_yaml import Strict

NAME = "text.json"
#: seq2seq: an encoder reads, a decoder writes. causal_lm: a decoder goes on with what it was given.
Task = Literal["seq2seq", "causal_lm"]
Runtime = Literal["torch", "onnx", "openvino"]
_WORDS = strict_yaml.Words(what="text model")


class Description(Strict):
    """A text model as text.json states it."""

    # `schema` is also a (deprecated) method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(1, alias="schema")
    task: Task
    runtime: Runtime
    precision: Literal["fp32", "fp16", "bf16", "int8", "nf4"]
    prompt: str = SOURCE
    max_source: int = Field(ge=1)
    max_target: int = Field(ge=1)
    beams: int = Field(1, ge=1)
    rouge: Rouge = "whitespace"
    source: str = Field("source", description="the column of a table that it reads")
    target: str = Field("target", description="the column that says what it should answer")
    base: str | None = Field(None, description="hub id or folder of the weights under its adapters, where it has some")
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]

    @staticmethod
    def settings_of(text: Text) -> dict[str, Any]:
        """What a description takes from a profile."""
        names = ("prompt", "max_source", "max_target", "beams", "rouge", "source", "target")
        return {name: getattr(text, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Described:
    """A description, and the folder it stands in."""

    folder: Path
    description: Description

    @property
    def path(self) -> Path:
        """The text.json itself."""
        return self.folder / NAME


def is_text(path: Path) -> bool:
    """Whether `path` is a text model's folder, or its text.json."""
    return path.name == NAME or (path / NAME).is_file()


def read(path: Path) -> Described:
    """The text model in the folder `path` (or beside its text.json).

    Raises:
        InputError: there is none, a key is wrong, or a file is missing or another than the one named.
    """
    file = path if path.name == NAME else path / NAME
    if not file.is_file():
        raise InputError(f"{path}: no text model (no {NAME}); train one with: deploytk train PROFILE")
    found = Described(folder=file.parent, description=strict_yaml.read(Description, file, _WORDS))
    for name, digest in found.description.files.items():
        part = found.folder / name
        if not part.is_file():
            raise InputError(f"{file}: files.{name}: {part} is missing; make the model again")
        if sha256_of(part) != digest:
            raise InputError(f"{part}: changed since deploytk made it (its sha256 is not the one in {NAME})")
    return found


def write(folder: Path, task: Task, runtime: Runtime, precision: str, settings: Mapping[str, Any]) -> Described:
    """Describe the model whose files stand in `folder`; the last file that is written into it."""
    files = {
        part.relative_to(folder).as_posix(): sha256_of(part)
        for part in sorted(folder.rglob("*"))
        if part.is_file() and part.name != NAME
    }
    told = {"schema": 1, "task": task, "runtime": runtime, "precision": precision, **settings, "files": files}
    description = Description.model_validate(told)
    write_json(folder / NAME, description.model_dump(mode="json", by_alias=True))
    return Described(folder=folder, description=description)
