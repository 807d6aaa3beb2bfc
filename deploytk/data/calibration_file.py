"""What stands in the set.yaml of a calibration set, read strictly and written so that people can read it too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from deploytk import strict_yaml
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.files import sha256_of_value, write_text

FILE = "set.yaml"
#: No line of a set.yaml is broken.
_WIDTH = 2**30

Sum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_WORDS = strict_yaml.Words(what="set.yaml of a calibration set")


class Strict(BaseModel):
    """Unknown keys are errors and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sample(Strict):
    """One image of the training split."""

    path: Path  # relative to the dataset's folder where it lies in it
    sha256: Sum
    classes: tuple[str, ...]
    brightness: float  # mean luminance, 0 to 255


class Spread(Strict):
    """The brightness of several images."""

    lowest: float
    median: float
    highest: float


class Coverage(Strict):
    """What the samples cover of the training split."""

    classes: dict[str, int]  # how many samples have each class of the dataset
    brightness: Spread
    brightness_of_train: Spread


class Evaluation(Strict):
    """The images that none of the samples is among, by content."""

    images: dict[str, int]  # per split
    sha256: Sum  # of the sorted sha256s of all of them


class SetFile(Strict):
    """A calibration set as its set.yaml tells it."""

    # `schema` is also a (deprecated) method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(1, alias="schema")
    name: str = Field(pattern=r"^\w[^/\\]*$")
    sha256: Sum
    dataset: Path  # a data.yaml or a folder; relative to the folder of this file, or absolute
    split: Literal["train"]
    seed: int
    asked: int  # samples asked for; fewer stand below where the split has no more
    preparation: Preparation
    preparation_sha256: Sum
    evaluation: Evaluation
    coverage: Coverage
    samples: tuple[Sample, ...] = Field(min_length=1)

    def content_sha256(self) -> str:
        """The sha256 of what shapes an INT8 model and of what it may be judged with; equal wherever the files lie."""
        told = {
            "split": self.split,
            "preparation": self.preparation.sha256,
            "samples": [sample.sha256 for sample in self.samples],
            "evaluation": self.evaluation.sha256,
        }
        return sha256_of_value(told)


def parse(path: Path) -> SetFile:
    """The set that the file states.

    Raises:
        InputError: a wrong line, or sums that are not those of what the file states.
    """
    told = strict_yaml.read(SetFile, path, _WORDS)
    if told.preparation.sha256 != told.preparation_sha256:
        raise InputError(f"{path}: preparation_sha256: not that of `preparation`; {_EDITED}")
    if told.content_sha256() != told.sha256:
        raise InputError(f"{path}: sha256: not that of the samples, preparation and evaluation told; {_EDITED}")
    return told


_EDITED = "was it edited by hand? Make the set again with: deploytk calibrate make"


def write(path: Path, told: SetFile) -> None:
    """Write the set.yaml: one line for each sample."""
    values = told.model_dump(mode="json", by_alias=True, exclude_none=True)
    samples = values.pop("samples")
    head = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=_WIDTH)
    lines = [f"- {_on_one_line(sample)}" for sample in samples]
    write_text(path, f"{head}samples:\n{''.join(lines)}")


def _on_one_line(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=_WIDTH)
