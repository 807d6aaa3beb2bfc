"""A pipeline as an artifact: pipeline.json, whose sha256 stands for both models, and what these were made from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from deploytk.artifact import Artifact
from deploytk.errors import InputError
from deploytk.files import sha256_of
from deploytk.graphs.identify import identify
from deploytk.pipelines.description import Described


def artifact_of(described: Described) -> Artifact:
    """The pipeline itself; its precision is that of its models, as far as their lineage says it."""
    ends = models_of(described)
    precisions = dict.fromkeys(model.precision for model in ends)
    return Artifact(
        path=described.path,
        format="pipeline",
        precision=", ".join(precisions),
        sha256=sha256_of(described.path),
        made_by="pipeline",
        made_from=tuple(model.sha256 for model in ends),
    )


def models_of(described: Described) -> tuple[Artifact, Artifact]:
    """The detector and the classifier: as their lineage tells them, or as files of which nothing else is known."""
    chains = chains_of(described)
    told = described.description
    found = []
    for name, file, part in (
        ("detector", described.detector, told.detector),
        ("classifier", described.classifier, told.classifier),
    ):
        known = next((a for a in chains[name] if a.sha256 == part.sha256), None)
        kind = identify(file).name
        made = Artifact(path=file, format=kind, precision="unknown", sha256=part.sha256, made_by="given")
        found.append(replace(known, path=file) if known else made)
    return found[0], found[1]


def chains_of(described: Described) -> dict[str, tuple[Artifact, ...]]:
    """What lineage.json tells of both models, by the name of the part; nothing where there is none.

    Raises:
        InputError: it is damaged.
    """
    place = described.path.parent / "lineage.json"
    if not place.is_file():
        return {"detector": (), "classifier": ()}
    try:
        told: Any = json.loads(place.read_text(encoding="utf-8"))
        return {name: tuple(map(Artifact.from_dict, told[name])) for name in ("detector", "classifier")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{place}: damaged lineage ({error}); make the pipeline again, or remove the file") from error
