"""Writes the folder that a pipeline is deployed as.

detector.*, classifier.*   the two models (an OpenVINO IR with its .bin)
pipeline.json              what joins them: see `description`
labels.txt                 the classifier's names, one on each line, in the order of its outputs
classes.json               the class index that training and evaluation used, where one was given
lineage.json               every artifact that the two models were made from
run.py                     an example: python run.py IMAGE...
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploytk.artifact import Artifact
from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.files import parts_of, plain, sha256_of, write_json, write_text, written_whole
from deploytk.pipelines import description as descriptions
from deploytk.pipelines.description import Described, Runtime

_EXAMPLE = '''"""What is in image files: python run.py IMAGE... (it needs deploytk and the pipeline's runtime)."""

import json
import sys
from pathlib import Path

import deploytk

pipeline = deploytk.load(Path(__file__).parent)
for image in sys.argv[1:]:
    print(json.dumps({"image": image, **pipeline(image).as_dict()}, ensure_ascii=False))
'''


@dataclass(frozen=True, kw_only=True)
class Model:
    """One of the two models, as it is given to `write`.

    `settings` are the other keys of its part of pipeline.json (`score_above`, `top_k`, ...); what is left out keeps
    its default. `chain` is every artifact from the trained model to this file.
    """

    file: Path
    labels: Sequence[str]
    preparation: Preparation
    settings: Mapping[str, Any] | None = None
    chain: Sequence[Artifact] = ()

    def told(self, name: str) -> dict[str, Any]:
        """Its part of pipeline.json, for a copy called `name`."""
        preparation = self.preparation.model_dump(mode="json", exclude_none=True)
        known = {"file": f"{name}{self.file.suffix}", "sha256": sha256_of(self.file), "preparation": preparation}
        return known | {"labels": list(self.labels)} | dict(self.settings or {})


def write(
    out: Path,
    *,
    detector: Model,
    classifier: Model,
    runtime: Runtime,
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    crops: Crops | None = None,
    class_index: Path | None = None,
) -> Described:
    """The pipeline in the folder `out`, which is there whole or not at all; an older pipeline there is replaced.

    Raises:
        InputError: something else stands there, a model is missing, or a value that pipeline.json cannot hold.
    """
    require_replaceable(out)
    for model in (detector, classifier):
        if not model.file.is_file():
            raise InputError(f"{model.file}: no such model")
    told = {
        "schema": 1,
        "runtime": runtime,
        **({"threads": threads} if threads else {}),
        "options": dict(options or {}),
        "detector": detector.told("detector"),
        "classifier": classifier.told("classifier"),
        "crops": (crops or Crops()).model_dump(mode="json"),
    }
    description = _sound(out, told)
    with written_whole(out) as partial:
        partial.mkdir()
        for name, model in (("detector", detector), ("classifier", classifier)):
            for part in parts_of(model.file):
                shutil.copyfile(part, partial / f"{name}{part.suffix}")
        write_json(partial / descriptions.NAME, description.as_dict())
        write_text(partial / "labels.txt", "".join(f"{name}\n" for name in classifier.labels))
        write_json(partial / "lineage.json", {"detector": _lineage(detector), "classifier": _lineage(classifier)})
        write_text(partial / "run.py", _EXAMPLE)
        if class_index is not None:
            shutil.copyfile(class_index, partial / "classes.json")
        descriptions.read(partial)  # what was written can be read
    return Described(path=out / descriptions.NAME, description=description)


def require_replaceable(out: Path) -> None:
    """Nothing, where a pipeline may be written to `out`: it is not there, empty, or a pipeline of ours.

    Raises:
        InputError: something else is there, which is not replaced.
    """
    if out.exists() and not descriptions.is_pipeline(out) and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: something else is there, and it would be replaced; name another place")


def _sound(out: Path, told: dict[str, Any]) -> descriptions.Description:
    try:
        return descriptions.Description.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{out}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def _lineage(model: Model) -> Any:
    # Names instead of paths: the folder goes to other machines.
    return plain([{**artifact.as_dict(), "path": artifact.path.name} for artifact in model.chain])
