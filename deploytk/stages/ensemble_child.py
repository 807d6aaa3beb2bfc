"""The process in which the models of an ensemble answer: opened together, asked image by image, combined, scored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from deploytk import worker
from deploytk.data.detections import MOST_BOXES, Detections
from deploytk.ensemble import boxes, classes
from deploytk.errors import InputError
from deploytk.files import written_whole
from deploytk.stages import ensemble_models, ensemble_samples, ensemble_scores
from deploytk.stages.ensemble_models import Answer, ImageModel, Kind
from deploytk.stages.ensemble_samples import Asked, Samples
from deploytk.stages.ensemble_scores import Measure, Objects

Strategy = Literal["wbf", "average", "vote", "stacking"]
STRATEGIES: Mapping[Kind, tuple[Strategy, ...]] = {
    "detector": ("wbf",),
    "classifier": ("average", "vote", "stacking"),
}
#: The number that says which single model is the best, and whether the ensemble is better.
METRIC: Mapping[Kind, str] = {"detector": "mAP50", "classifier": "top1"}


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A model, as it looks at an image."""

    model: ImageModel
    flip: bool
    weight: float

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.model.name, "flip": self.flip, "weight": self.weight}


@dataclass(frozen=True, kw_only=True)
class _Combined:
    """What the ensemble answers to each sample."""

    answers: Sequence[Any]  # Detections, or (classes,) probabilities
    ms_per_sample: float  # of combining alone
    learnt: Mapping[str, Any] | None = None
    kept: Mapping[str, Any] | None = None  # coefficients of stacking


def answered(
    models: list[dict[str, Any]], data: str, strategy: Strategy, split: str, tta: bool, out: str | None
) -> dict[str, Any]:
    """What `ensemble_images.combined` tells; in a child.

    Args:
        models: of each name, path, sha256 and weight.
    """
    opened = [ensemble_models.opened(Path(one["path"]), one["name"]) for one in models]
    ensemble_models.require_alike(opened)
    kind = opened[0].kind
    if strategy not in STRATEGIES[kind]:
        raise InputError(f"--strategy {strategy} is not for {kind}s; theirs: {', '.join(STRATEGIES[kind])}")
    crops = next((dict(model.crops) for model in opened if model.crops), None)
    samples = ensemble_samples.read(Path(data), kind, split, crops)
    if strategy == "stacking":
        classes.require_samples(len(samples.asked))
    names, theirs, notes = _class_names(opened, samples)
    flips = (False, True) if tta else (False,)
    members = [
        _Member(model=model, flip=flip, weight=one["weight"])
        for model, one in zip(opened, models, strict=True)
        for flip in flips
    ]
    answers, truth = _asked(members, samples, theirs, len(names))
    whole = _combine(members, answers, truth, strategy)
    measures = [_measure(kind, said, truth) for said in answers[:: len(flips)]]
    ours, every = _measure(kind, whole.answers, truth), np.ones(len(truth))
    scores = [measure(every) for measure in measures]
    best = int(np.argmax(scores))
    if out is not None:
        _write(Path(out), samples, names, whole)
    ms = [fmean(model.took_ms) for model in opened]
    return {
        "kind": kind,
        "strategy": strategy,
        "tta": tta,
        "split": split,
        "metric": METRIC[kind],
        "samples": len(truth),
        "digest": samples.digest,
        "classes": len(names),
        "systems": [
            {**_facts(model, one), "score": score, "ms_per_sample": took}
            for model, one, score, took in zip(opened, models, scores, ms, strict=True)
        ],
        "ensemble": {"score": ours(every), "ms_per_sample": len(flips) * sum(ms) + whole.ms_per_sample},
        "difference": {
            **ensemble_scores.difference(ours, measures[best], len(truth)),
            "to": opened[best].name,
        },
        "members": [member.as_dict() for member in members],
        "learnt": whole.learnt,
        "timed": "the mean of preparing, running and reading one image at a time; decoding it is not in it",
        "passthrough": len(members) == 1,
        "notes": [*notes, *_said_of(opened, strategy, tta, len(members))],
    }


def _facts(model: ImageModel, one: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": model.name, "path": one["path"], "sha256": one["sha256"], "preparation": model.prepared}


def _said_of(models: Sequence[ImageModel], strategy: Strategy, tta: bool, members: int) -> Iterator[str]:
    for model in models:
        if model.assumed:
            usual = f"the usual one of a classifier is taken ({model.prepared})"
            yield f"{model.name}: no preparation.yaml beside the file and none in it; {usual}"
    if tta:
        yield "test-time augmentation: each model looks at each image in a mirror as well"
    if strategy == "vote" and members == 2:
        yield "two votes that differ are a tie: the mean probability decides each"
    if models[0].kind == "detector":
        yield f"mAP50 is over all boxes with a score above {ensemble_models.SCORE:g}, as in Ultralytics' validation"


def _class_names(models: Sequence[ImageModel], samples: Samples) -> tuple[tuple[str, ...], tuple[int, ...], list[str]]:
    """(the models' classes, which of them each of the dataset's is, what is to be said of them).

    What no model's file says, the dataset does. Detectors of one class find objects of any.

    Raises:
        InputError: the dataset has another number of classes, or some that the models do not know.
    """
    told = next((model.names for model in models if model.names is not None), None)
    names = told or samples.classes
    count = next((model.classes for model in models if model.classes is not None), len(names))
    if count != len(names):
        raise InputError(f"{samples.source}: has {len(names)} classes, the models tell {count} apart")
    notes = []
    nameless = ", ".join(model.name for model in models if model.names is None)
    if nameless:
        whose = "the other models'" if told else "the dataset's"
        notes.append(f"{nameless}: no names of classes in the file; {whose} are taken, in their order")
    foreign = [name for name in samples.classes if name not in names]
    if foreign and len(names) == 1 and models[0].kind == "detector":
        notes.append(f"the models know one class, {names[0]!r}: every object of the dataset counts as one")
        return names, (0,) * len(samples.classes), notes
    if foreign:
        raise InputError(
            f"{samples.source}: its classes must be among the models'; {len(foreign)} of {len(samples.classes)} are "
            f"not (first: {foreign[0]!r}; theirs: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        )
    return names, tuple(map(names.index, samples.classes)), notes


def _asked(
    members: Sequence[_Member], samples: Samples, theirs: Sequence[int], count: int
) -> tuple[list[list[Any]], list[Objects]]:
    """(of each member its answers, what is right). All look at an image while it is decoded."""
    answers: list[list[Any]] = [[] for _ in members]
    truth = []
    for number, one in enumerate(samples.asked):
        worker.emit(done=number, total=len(samples.asked), text=one.image.name)
        pixels = one.pixels()
        if number == 0:  # the first run is a warm-up
            for member in members:
                _answer(member, pixels, one, count)
            for member in members:
                member.model.took_ms.clear()
        for member, said in zip(members, answers, strict=True):
            said.append(_answer(member, pixels, one, count))
        labels = np.array([theirs[label] for label in one.labels], np.int64)
        truth.append(Objects(boxes=one.corners(*pixels.shape[:2]), labels=labels))
    return answers, truth


def _answer(member: _Member, pixels: np.ndarray, one: Asked, count: int) -> Answer:
    """What a member says, which knows `count` classes."""
    said = member.model.answer(pixels, flip=member.flip, image=str(one.image))
    if isinstance(said, Detections) and said.labels.max(initial=0) >= count:
        raise InputError(f"{member.model.path}: found a box of class {said.labels.max()}; there are {count} classes")
    return said


def _combine(
    members: Sequence[_Member], answers: Sequence[Sequence[Any]], truth: Sequence[Objects], strategy: Strategy
) -> _Combined:
    """The ensemble's answers; one member's alone as they are."""
    if len(members) == 1:
        return _Combined(answers=answers[0], ms_per_sample=0.0)
    if strategy == "stacking":
        return _stacked(members, [np.stack(said) for said in answers], _labels(truth))
    weights = [member.weight for member in members]
    began = time.perf_counter()
    made: Any
    if strategy == "wbf":
        made = [boxes.fused(row, weights=weights).first(MOST_BOXES) for row in zip(*answers, strict=True)]
    else:
        join = classes.averaged if strategy == "average" else classes.voted
        made = join([np.stack(said) for said in answers], weights)
    return _Combined(answers=list(made), ms_per_sample=1e3 * (time.perf_counter() - began) / len(truth))


def _stacked(members: Sequence[_Member], rows: Sequence[np.ndarray], truth: np.ndarray) -> _Combined:
    """Each image is answered by what the other folds have taught; what all have taught is what is kept."""
    made = classes.stacked(rows, truth)
    began = time.perf_counter()
    made.learnt.applied(rows)
    took_ms = 1e3 * (time.perf_counter() - began) / len(truth)
    names = [f"{member.model.name}{', in a mirror' if member.flip else ''}" for member in members]
    learnt = {
        "features": [f"log-probability by {name}" for name in names],
        "weights": list(made.learnt.own_weights()),
        "folds": made.folds,
        "stratified": made.stratified,
    }
    kept = {"members": names, **made.learnt.as_dict()}
    return _Combined(answers=list(made.probabilities), ms_per_sample=took_ms, learnt=learnt, kept=kept)


def _measure(kind: Kind, answers: Sequence[Any], truth: Sequence[Objects]) -> Measure:
    if kind == "detector":
        return ensemble_scores.mean_precision(answers, truth)
    return ensemble_scores.top1(np.stack(answers), _labels(truth))


def _labels(truth: Sequence[Objects]) -> np.ndarray:
    """(n,) the class of each picture."""
    return np.array([one.labels[0] for one in truth], np.int64)


def _write(out: Path, samples: Samples, names: Sequence[str], whole: _Combined) -> None:
    with written_whole(out / "predictions.jsonl") as partial, partial.open("w", encoding="utf-8") as stream:
        for one, said in zip(samples.asked, whole.answers, strict=True):
            stream.write(json.dumps(_row(one, said, names), ensure_ascii=False) + "\n")
    if whole.kept is not None:
        with written_whole(out / "stacking.json") as partial:
            partial.write_text(json.dumps({**whole.kept, "names": list(names)}) + "\n", encoding="utf-8")


def _row(one: Asked, said: Answer, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(said, Detections):
        part = {"box": one.boxes[0]} if one.boxes else {}  # what of the image the picture is
        label = names[int(said.argmax())]
        return {"image": str(one.image), **part, "label": label, "probabilities": [round(float(p), 6) for p in said]}
    return {
        "image": str(one.image),
        "boxes": [[round(float(side), 2) for side in box] for box in said.boxes],
        "scores": [round(float(score), 6) for score in said.scores],
        "labels": [names[label] for label in said.labels.tolist()],
    }
