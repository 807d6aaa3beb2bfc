"""Several detectors, or several classifiers, as one: all answer the same labelled images, and all are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.ensemble import boxes
from deploytk.errors import InputError
from deploytk.files import sha256_of
from deploytk.stages import ensemble_models
from deploytk.stages.ensemble import once
from deploytk.stages.ensemble_child import Strategy
from deploytk.worker import Listener

_TIMEOUT_S = 24 * 3600.0


def combined(
    models: Sequence[Path],
    data: Path,
    *,
    strategy: Strategy,
    split: str = "val",
    tta: bool = False,
    weights: Sequence[float] | None = None,
    out: Path | None = None,
    listen: Listener | None = None,
) -> dict[str, Any]:
    """What each model and the ensemble came to on the same images; its answers in OUT/predictions.jsonl.

    Args:
        models: files that run here, or run folders, which stand for their ONNX. All detectors or all classifiers.
        data: a data.yaml or a Pascal-VOC folder; for classifiers also a folder per class or a manifest.
        tta: each model looks at each image in a mirror too.
        weights: of the models, in their order; equal by default.
        out: where predictions.jsonl is written, and with stacking what was learnt, stacking.json.

    Raises:
        InputError: a model or the data is wrong, they do not belong together, or the strategy is for other models.
        MissingDependency: a runtime or a library is not installed.
        StepFailed: the process that runs them died.
    """
    if not models:
        raise InputError("an ensemble needs models: give one or more")
    if weights is not None and strategy == "stacking":
        raise InputError("stacking learns what each model is worth: leave --weights out")
    boxes.model_weights(weights, len(models))
    files = [ensemble_models.file_of(Path(path)) for path in models]
    each = zip(_names(models, files), files, weights or [1.0] * len(files), strict=True)
    named = [{"name": n, "path": str(p), "sha256": sha256_of(p), "weight": w} for n, p, w in each]
    members, notes = once(named, lambda one: str(one["sha256"]), lambda one: str(one["path"]))
    with worker.log_folder(None, "ensemble") as logs:
        told: dict[str, Any] = worker.call(
            "deploytk.stages.ensemble_child:answered",
            {
                "models": members,
                "data": str(data),
                "strategy": strategy,
                "split": split,
                "tta": tta,
                "out": str(out) if out else None,
            },
            logs=logs,
            name="ensemble",
            timeout_s=_TIMEOUT_S,
            listen=listen,
        )
    return {**told, "notes": [*notes, *told["notes"]]}


def _names(models: Sequence[Path], files: Sequence[Path]) -> list[str]:
    """A run's or a file's name, with its folder's where two are alike, and a number where these are too."""
    runs = [path if path.is_dir() else None for path in map(Path, models)]
    short = [run.absolute().name if run else file.stem for run, file in zip(runs, files, strict=True)]
    longer = [
        name if short.count(name) == 1 else f"{(run or file).absolute().parent.name}/{name}"
        for name, run, file in zip(short, runs, files, strict=True)
    ]
    return [name if longer.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(longer, 1)]
