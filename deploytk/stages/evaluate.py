"""How right a deployed pipeline is on labelled images, and what it lost beside the trained one, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.budget import Verdict
from deploytk.data import dataset
from deploytk.data.dataset import Sample
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PARITY, EXIT_PASS, InputError
from deploytk.files import sha256_of
from deploytk.measurement import Machine
from deploytk.pipelines import accuracy, lineage
from deploytk.pipelines import description as descriptions
from deploytk.pipelines.accuracy import Alike, Recogniser, Score, Truth
from deploytk.pipelines.description import Described
from deploytk.pipelines.running import from_described, pixels_of
from deploytk.report import Finding, Report
from deploytk.runtimes import FixedBatch
from deploytk.worker import Listener

_TIMEOUT_S = 24 * 3600.0
#: The number that decides; the others say where the loss is.
METRIC = "mAP50"
_EXITS = {"pass": EXIT_PASS, "fail": EXIT_PARITY, "inconclusive": EXIT_INCONCLUSIVE}


@dataclass(frozen=True, kw_only=True)
class Against:
    """What a pipeline is compared with: another pipeline, or the two checkpoints it was made from."""

    pipeline: Path | None = None
    detector: Path | None = None
    classifier: Path | None = None

    def as_dict(self) -> dict[str, str]:
        """The paths that are given, as JSON-like values."""
        return {name: str(path) for name, path in vars(self).items() if path is not None}


def evaluate(
    pipeline: Path,
    data: Path,
    *,
    split: str = "val",
    against: Against | None = None,
    max_drop: float = 0.02,
    listen: Listener | None = None,
) -> Report:
    """The accuracy of a pipeline per stage and as a whole; beside another one the difference, which is judged.

    Args:
        data: a data.yaml or a Pascal-VOC folder whose class names are the classifier's.
        max_drop: what the mAP50 of boxes with names may fall by, absolute.

    Raises:
        InputError: no pipeline or dataset, no such split, classes that the classifier does not know, no checkpoints.
        MissingDependency: a runtime is not installed.
    """
    described = descriptions.read(pipeline)
    _samples(described, data, split)
    kwargs = {"pipeline": str(described.path), "data": str(data), "split": split}
    with worker.log_folder(None, "evaluate") as folder:
        told: dict[str, Any] = worker.call(
            "deploytk.stages.evaluate:evaluated",
            {**kwargs, "against": against.as_dict() if against else {}},
            logs=folder,
            name="evaluate",
            timeout_s=_TIMEOUT_S,
            listen=listen,
        )
    verdict = _verdict(told, max_drop)
    artifact = lineage.artifact_of(described)
    limits = {"max_drop": max_drop, "split": split, "data": str(data), "metric": METRIC}
    return Report(
        command="evaluate",
        title=described.path.parent.absolute().name,
        verdict=verdict,
        exit_code=_EXITS[verdict.status],
        artifact=artifact,
        chain=(*lineage.models_of(described), artifact),
        findings=tuple(_foreign(described, against)) if against else (),
        machine=Machine.this(),
        sections={"accuracy": {**told, **limits, "rule": accuracy.RULE, **_limits(described)}},
    )


def evaluated(pipeline: str, data: str, split: str, against: dict[str, str]) -> dict[str, Any]:
    """In a child: `deployed`, and with `against` also `source` and `agreement`, each over all images of the split."""
    described = descriptions.read(Path(pipeline))
    try:
        sides: list[Recogniser] = [from_described(described), *_others(described, against)]
    except FixedBatch as error:
        raise InputError(f"{pipeline}: {error}") from error
    samples, classes = _samples(described, Path(data), split)
    scores, alike = [Score() for _ in sides], Alike()
    for number, sample in enumerate(samples):
        worker.emit(done=number, total=len(samples), text=sample.image.name)
        pixels = pixels_of(sample.image)
        truth = _truth(sample, classes, *pixels.shape[:2])
        said = [side(pixels) for side in sides]
        for side, one, score in zip(sides, said, scores, strict=True):
            score.add(one, side.classify(pixels, truth.boxes)[0], truth)
        if len(said) > 1:
            alike.add(said[0], said[1])
    if len(sides) == 1:
        return {"deployed": scores[0].as_dict()}
    told = {"deployed": scores[0].as_dict(), "source": scores[1].as_dict(), "agreement": alike.as_dict()}
    return told | {"source_is": "pipeline" if "pipeline" in against else "torch"}


def _others(described: Described, against: dict[str, str]) -> list[Recogniser]:
    if "pipeline" in against:
        return [from_described(descriptions.read(Path(against["pipeline"])))]
    if not against:
        return []
    from deploytk.stages.torch_pipeline import checkpoint_in, trained

    detector, classifier = (checkpoint_in(Path(against[name])) for name in ("detector", "classifier"))
    return [trained(described.description, detector, classifier)]


def against_of(run: Path | None, detector: Path | None, classifier: Path | None) -> Against | None:
    """What the command line compares with, or None.

    Args:
        run: another pipeline, or a run folder with `detector` and `classifier` in it.

    Raises:
        InputError: it is neither, or one of the two checkpoints is missing.
    """
    if run is not None and (detector or classifier):
        raise InputError("--against names both models; leave --detector and --classifier out")
    if run is not None and descriptions.is_pipeline(run):
        return Against(pipeline=run)
    if run is not None:
        detector, classifier = run / "detector", run / "classifier"
        if not (detector.is_dir() and classifier.is_dir()):
            raise InputError(
                f"{run}: neither a pipeline nor a run with the folders detector and classifier in it; name the two "
                "checkpoints with --detector and --classifier"
            )
    if detector is None and classifier is None:
        return None
    if detector is None or classifier is None:
        raise InputError("--detector and --classifier belong together: a pipeline is made of both")
    return Against(detector=detector, classifier=classifier)


def _samples(described: Described, data: Path, split: str) -> tuple[Sequence[Sample], tuple[str, ...]]:
    """(the labelled images of a split, the names of the dataset's classes), which the classifier knows."""
    found = dataset.read(data)
    if not found.splits.get(split):
        known = ", ".join(name for name, samples in found.splits.items() if samples)
        raise InputError(f"{data}: there is no split {split!r}; it has {known}")
    foreign = _foreign_among(described, found.classes)
    if foreign:
        raise InputError(
            f"{data}: its classes must be names that the classifier gives; {len(foreign)} of {len(found.classes)} are "
            f"none of them (first: {foreign[0]!r})"
        )
    return found.splits[split], found.classes


def foreign_names(described: Described, data: Path) -> list[str]:
    """The names of a dataset's classes that the classifier does not give.

    Raises:
        InputError: no such dataset, or it is wrong.
    """
    return _foreign_among(described, dataset.read(data).classes)


def _foreign_among(described: Described, classes: Sequence[str]) -> list[str]:
    known = set(described.description.classifier.labels)
    return [name for name in classes if name not in known]


def _truth(sample: Sample, classes: Sequence[str], height: int, width: int) -> Truth:
    rows = [(b.x - b.w / 2, b.y - b.h / 2, b.x + b.w / 2, b.y + b.h / 2) for b in sample.boxes]
    boxes = np.array(rows, np.float32).reshape(-1, 4) * np.array([width, height] * 2, np.float32)
    return Truth(boxes=boxes, names=tuple(classes[b.label] for b in sample.boxes))


def _verdict(told: dict[str, Any], allowed: float) -> Verdict:
    deployed, source = told["deployed"], told.get("source")
    if deployed[METRIC] is None:
        return Verdict(status="inconclusive", reasons=("The images of this split have no objects: nothing is shown.",))
    said = f"mAP50 of boxes with names: {deployed[METRIC]:.3f}"
    parts = ", ".join(f"{name.replace('_', ' ')} {deployed[name]:.3f}" for name in _STAGES)
    if source is None:
        return Verdict(status="pass", reasons=(f"{said} ({parts}); compared with nothing.",))
    drop = source[METRIC] - deployed[METRIC]
    where = ", ".join(f"{name.replace('_', ' ')} {deployed[name] - source[name]:+.3f}" for name in _STAGES)
    beside = f"{said}, {drop:.3f} less than the {source[METRIC]:.3f} it is compared with; by stage: {where}"
    if drop > allowed:
        return Verdict(status="fail", reasons=(f"{beside}; {allowed:g} is allowed.",))
    if source[METRIC] <= allowed:
        why = "that is so low that a loss cannot be seen; train longer"
        return Verdict(status="inconclusive", reasons=(f"{beside}: {why}.",))
    return Verdict(status="pass", reasons=(f"{beside}; {allowed:g} is allowed.",))


_STAGES = ("detector_mAP50", "classifier_top1")


def _limits(described: Described) -> dict[str, Any]:
    """What the numbers hold for: the pipeline's own thresholds."""
    told = described.description
    return {"score_above": told.detector.score_above, "most_crops": told.crops.most}


def _foreign(described: Described, against: Against) -> list[Finding]:
    """A warning for each checkpoint that the pipeline was not made from, as far as its lineage says so."""
    from deploytk.stages.torch_pipeline import checkpoint_in

    found = []
    for name, chain in lineage.chains_of(described).items():
        given = getattr(against, name)
        if given is None or not any(artifact.format == "pt" for artifact in chain):
            continue
        file = checkpoint_in(given)
        if sha256_of(file) not in {artifact.sha256 for artifact in chain}:
            message = f"the pipeline's {name} was made from another checkpoint (its sha256 is not in lineage.json)"
            found.append(Finding(rule="EVA001", severity="warning", where=str(file), message=message))
    return found
