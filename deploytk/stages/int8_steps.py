"""What the INT8 ladder runs in child processes: one function per risky step, JSON-like in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from deploytk import plugins
from deploytk.data import calibration as sets
from deploytk.data import calibration_making, labelled
from deploytk.data.calibration import CalibrationSet
from deploytk.data.labelled import Pool
from deploytk.errors import InputError
from deploytk.files import plain, write_json
from deploytk.profile import Profile
from deploytk.recipe import Recipe

#: What stands for no loss at all.
LOSSLESS_DB = 200.0

Predict = Callable[[np.ndarray], np.ndarray]


def calibration(profile: dict[str, Any], run: str, checkpoint: str) -> dict[str, Any]:
    """The calibration set that the profile names, or the one the run makes of its own: path, sha256, images.

    Raises:
        InputError: there is none, or its samples are among the images that this run is evaluated on.
    """
    wanted = Profile.model_validate(profile)
    name, backend = wanted.calibration.name, plugins.load("backends", wanted.backend)
    pool = _pool(wanted, backend, Path(run))
    if name:
        found = sets.load(name)
        _require_apart(found, pool)
    else:
        prepared = backend.preparation(Path(checkpoint), wanted.train.imgsz)
        found = sets.for_profile(wanted, Path(run), prepared, pool)
    return {"path": str(found.folder.absolute()), "sha256": found.sha256, "images": found.images}


def _pool(profile: Profile, backend: ModuleType, run: Path) -> Pool:
    """The images of the profile: the dataset's files, or what its backend cuts out of them."""
    if profile.data.path is None:
        raise InputError("data.path: no dataset to score an INT8 model on; give --data DATA.yaml or a folder")
    cut: Callable[[Profile, Path], Pool | None] | None = getattr(backend, "calibration_pool", None)
    return (cut(profile, run) if cut else None) or labelled.read(profile.data.path)


def _require_apart(found: CalibrationSet, pool: Pool) -> None:
    """A named set was drawn apart from the evaluation images of its own dataset, which may not be this run's."""
    evaluated = calibration_making.evaluated(pool)
    samples = [(found.path_of(sample), sample.sha256) for sample in found.told.samples]
    calibration_making.refuse_overlap(samples, evaluated)


def quantize_graph(target: str, model: str, out: str, recipe: dict[str, Any], calibration: str) -> dict[str, Any]:
    """Write the INT8 version of a float model of the target; facts about how it went."""
    feeds = sets.load(calibration).feeds
    quantize = plugins.load("targets", target).quantize_graph
    facts: dict[str, Any] = plain(quantize(Path(model), feeds, Path(out), Recipe.from_dict(recipe)))
    return facts


def sensitivities(
    target: str, model: str, out: str, calibration: str, images: int, backend: str, checkpoint: str
) -> None:
    """Write what the outputs keep where one layer alone is INT8 (layers, worst first), and a detect head's prefix."""
    feeds = sets.load(calibration).feeds
    layers = plugins.load("targets", target).sensitivities(Path(model), feeds, images=images)
    sections = plugins.load("backends", backend).describe(Path(checkpoint)).get("sections")
    head = f"/model.{sections['head'][0]}/" if sections else ""
    # JSON knows no infinity: what a layer without any loss has is more than any float model keeps.
    told = [{**layer, "sqnr_db": min(float(layer["sqnr_db"]), LOSSLESS_DB)} for layer in layers]
    write_json(Path(out), {"layers": told, "head": head})


def finetune_quantized(
    profile: dict[str, Any],
    run: str,
    checkpoint: str,
    out: str,
    calibration: str,
    epochs: int,
    float_nodes: Sequence[str],
) -> dict[str, Any]:
    """Write the checkpoint that a few more epochs with INT8's rounding give; facts about how it went."""
    backend = plugins.load("backends", profile["backend"])
    feeds = sets.load(calibration).feeds
    facts: dict[str, Any] = plain(
        backend.finetune_quantized(
            profile, run, Path(checkpoint), feeds, Path(out), epochs=epochs, float_nodes=float_nodes
        )
    )
    return facts


def accuracy_controlled(
    profile: dict[str, Any],
    run: str,
    checkpoint: str,
    target: str,
    model: str,
    out: str,
    calibration: str,
    metric: str,
    max_drop: float,
) -> dict[str, Any]:
    """Write the INT8 version that the target's own accuracy control finds, at most `max_drop` of `metric` lost."""
    backend = plugins.load("backends", profile["backend"])

    def validate(predict: Predict) -> float:
        return float(backend.score(predict, profile, Path(checkpoint), run)[metric])

    feeds = sets.load(calibration).feeds
    control = plugins.load("targets", target).with_accuracy_control
    facts: dict[str, Any] = plain(control(Path(model), feeds, validate, max_drop, Path(out)))
    return facts
