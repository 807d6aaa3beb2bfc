"""pipeline.json: which two models make a pipeline, and all that shapes its answers; every wrong key is told.

It stands beside the models; the paths in it are relative to it, and each model must have the sha256 it names. The
keys: docs/pipeline.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deploytk import strict_yaml
from deploytk.data.crops import Crops
from deploytk.data.detections import MOST_BOXES, OVERLAP, SCORE
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.files import parts_of, sha256_of

NAME = "pipeline.json"
#: The runtimes that two models can share a process in, as measured (docs/pipeline.md).
Runtime = Literal["onnx", "openvino", "litert"]
_WORDS = strict_yaml.Words(what="pipeline")

Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Labels = Annotated[tuple[str, ...], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_CONFIG = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Part(BaseModel):
    """What both models have."""

    model_config = _CONFIG

    file: str
    sha256: Sha256
    preparation: Preparation
    labels: Labels

    @model_validator(mode="after")
    def _sound(self) -> Self:
        place = PurePosixPath(self.file)
        if place.is_absolute() or not place.name:
            raise ValueError("file: a path relative to pipeline.json")
        if len(set(self.labels)) < len(self.labels):
            twice = sorted({name for name in self.labels if self.labels.count(name) > 1})
            raise ValueError(f"labels: {twice[0]!r} is there more than once")
        return self


class Detector(Part):
    """The first model: where the objects are."""

    score_above: Share = SCORE
    overlap_at_most: Share = OVERLAP
    most_boxes: Annotated[int, Field(strict=True, ge=1, le=MOST_BOXES)] = MOST_BOXES

    @model_validator(mode="after")
    def _above_nothing(self) -> Self:
        if not 0 < self.score_above < 1:
            raise ValueError(f"score_above: between 0 and 1, without them, not {self.score_above:g}")
        return self


class Classifier(Part):
    """The second model: what each of them is."""

    top_k: Annotated[int, Field(strict=True, ge=1, le=100)] = 5
    batch: Annotated[int, Field(strict=True, ge=1, le=256)] = 8


class Description(BaseModel):
    """A pipeline as pipeline.json states it."""

    model_config = _CONFIG

    # `schema` is also a (deprecated) method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(alias="schema")
    runtime: Runtime
    threads: Annotated[int, Field(strict=True, ge=1)] | None = None
    options: dict[str, str] = Field(default_factory=dict)
    detector: Detector
    classifier: Classifier
    crops: Crops = Crops()

    def as_dict(self) -> dict[str, Any]:
        """The description as JSON-like values, as it is written."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True, kw_only=True)
class Described:
    """A description, the file it stands in, and where its models are."""

    path: Path
    description: Description

    @property
    def detector(self) -> Path:
        """The detector's file."""
        return self.path.parent / self.description.detector.file

    @property
    def classifier(self) -> Path:
        """The classifier's file."""
        return self.path.parent / self.description.classifier.file

    @property
    def size_bytes(self) -> int:
        """Of both models."""
        return sum(part.stat().st_size for model in (self.detector, self.classifier) for part in parts_of(model))


def is_pipeline(path: Path) -> bool:
    """Whether a path is meant as a pipeline: a folder with a pipeline.json in it, or such a file."""
    return (path / NAME).is_file() if path.is_dir() else path.name == NAME


def read(path: Path) -> Described:
    """The pipeline at `path`, a folder with a pipeline.json or that file; its models are there and unchanged.

    Raises:
        InputError: no such file, a wrong key or value, or a model that is missing or has another sha256.
    """
    place = path / NAME if path.is_dir() else path
    source = strict_yaml.Source(_values(place), {(): str(place)})
    found = Described(path=place, description=strict_yaml.validated(Description, source, _WORDS))
    for name, part in (("detector", found.description.detector), ("classifier", found.description.classifier)):
        _require_same(place, name, part)
    return found


def _require_same(place: Path, name: str, part: Part) -> None:
    """Nothing, where the model of one part is the file that was meant."""
    file = place.parent / part.file
    if not file.is_file():
        raise InputError(f"{place}: {name}.file: {file} is not there; copy the whole folder")
    if sha256_of(file) != part.sha256:
        raise InputError(f"{file}: is not the model that {place.name} names (its sha256 differs): make it again")


def _values(place: Path) -> dict[str, Any]:
    try:
        told = json.loads(place.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{place}: no such pipeline; give a folder with a {NAME} in it") from error
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except RecursionError as error:
        raise InputError(f"{place}: not a pipeline: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{place}:{error.lineno}: not JSON ({error.msg})") from error
    except InputError as error:
        raise InputError(f"{place}: {error.message}") from error
    if not isinstance(told, dict):
        raise InputError(f"{place}: empty, or not a mapping of keys to values")
    return told


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping, where no key is written twice: the second would win without a word."""
    told: dict[str, Any] = {}
    for key, value in pairs:
        if key in told:
            raise InputError(f"the key {key!r} is written twice in one mapping")
        told[key] = value
    return told
