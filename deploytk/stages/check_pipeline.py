"""What is in a two-stage pipeline: both models are there and unchanged, and what is done around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Verdict
from deploytk.files import size_of
from deploytk.graphs.identify import require_model
from deploytk.pipelines import description as descriptions
from deploytk.pipelines import lineage
from deploytk.pipelines.description import Part
from deploytk.report import Report

#: What a pipeline's models can be.
_KINDS = ("onnx", "tflite", "openvino-xml")


def check(pipeline: Path) -> Report:
    """The report on a pipeline; its models are not run, `deploytk predict` does that.

    Raises:
        InputError: a wrong key, or a model that is missing, was changed, or is no model.
    """
    described = descriptions.read(pipeline)
    told = described.description
    for file in (described.detector, described.classifier):
        require_model(file, _KINDS)
    models = lineage.models_of(described)
    parts = [
        _row(name, model, part)
        for name, model, part in zip(_NAMES, models, (told.detector, told.classifier), strict=True)
    ]
    crops = told.crops
    square = ", made square" if crops.square else ""
    reasons = (
        f"both models are there and have the sha256 that {descriptions.NAME} names",
        f"runtime {told.runtime}, threads {told.threads or 'by the runtime'}",
        f"boxes above {told.detector.score_above:g}, overlapping by {told.detector.overlap_at_most:g} at most",
        f"crops: at most {crops.most} of an image, with a margin of {crops.margin:g} of the box{square}; "
        f"{told.classifier.batch} at a time, the {told.classifier.top_k} most probable names of each",
    )
    artifact = lineage.artifact_of(described)
    return Report(
        command="check",
        title=described.path.parent.absolute().name,
        verdict=Verdict(status="pass", reasons=reasons),
        exit_code=0,
        artifact=artifact,
        chain=(*models, artifact),
        sections={"pipeline": {"parts": parts}},
    )


_NAMES = ("detector", "classifier")


def _row(name: str, model: Artifact, part: Part) -> dict[str, Any]:
    return {
        "part": name,
        "file": part.file,
        "format": model.format,
        "precision": model.precision,
        "MB": round(size_of(model.path) / 1e6, 2),
        "preparation": part.preparation.summary,
        "labels": _labels(part.labels),
    }


def _labels(labels: tuple[str, ...]) -> str:
    listed = ", ".join(labels[:3])
    return listed if len(labels) <= 3 else f"{len(labels):,}: {listed} ..."
