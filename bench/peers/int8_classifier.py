"""The INT8 ladder for the classifier of `omniglot.py`, which no backend trains: same rungs, judged by its top-1."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from int8_ways import call

from deploytk import plugins
from deploytk.artifact import Artifact
from deploytk.data import calibration, calibration_making, labelled
from deploytk.data.preparation import Preparation
from deploytk.errors import ParityFailed, StepFailed
from deploytk.files import sha256_of, size_of
from deploytk.stages import int8, ladder, speed
from deploytk.stages.int8_steps import LOSSLESS_DB
from deploytk.stages.ladder import Attempt, Rung

_STEPS = "deploytk.stages.int8_steps"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """An ONNX classifier with the pictures that calibrate and judge it."""

    model: Path
    pictures: Path  # with train/ and val/
    preparation: Preparation
    max_drop: float

    @property
    def folder(self) -> Path:
        """Where everything made of it goes."""
        return self.model.parent / "int8"

    def calibration(self) -> Path:
        """The folder of its calibration set, made once of the training pictures."""
        folder = self.folder / "calibration" / "train"
        if not (folder / "set.yaml").is_file():
            pool = labelled.read(self.pictures)
            how = {"name": "train", "samples": 128, "seed": 0, "preparation": self.preparation}
            calibration_making.drawn(pool, folder, **how).save()
        return folder

    def top_1(self, target: str, model: Path) -> float:
        """The share of the validation pictures that a model of a target names."""
        names = {"target": target, "model": str(model), "pictures": str(self.pictures)}
        prepared = self.preparation.model_dump(mode="json")
        name = f"top-1-{target}-{model.stem}"
        return float(call("int8_classifier:top_1", name, self.folder / "logs", preparation=prepared, **names))

    def inputs(self) -> Path:
        """An .npz of prepared validation pictures, for measuring."""
        out = self.folder / "inputs.npz"
        if not out.is_file():
            paths = labelled.read(self.pictures).evaluation["val"][::40]
            np.savez(out, images=np.concatenate([self.preparation.prepare(p.read_bytes()) for p in paths]))
        return out


def top_1(target: str, model: str, pictures: str, preparation: dict[str, Any]) -> float:
    """As `Classifier.top_1`, in a process of its own."""
    predict, how = plugins.load("targets", target).predictor(Path(model)), Preparation.model_validate(preparation)
    val = labelled.read(Path(pictures) / "val").train
    found = [int(predict(how.prepare(one.image.read_bytes(), str(one.image))).argmax()) in one.classes for one in val]
    return sum(found) / len(found)


def sensitivities(target: str, model: str, calibration_set: str, images: int) -> list[dict[str, Any]]:
    """What each layer costs in INT8, the worst first."""
    feeds = calibration.load(calibration_set).feeds
    found = plugins.load("targets", target).sensitivities(Path(model), feeds, images=images)
    return [{**layer, "sqnr_db": min(float(layer["sqnr_db"]), LOSSLESS_DB)} for layer in found]


def climbed(which: Classifier, target: str, rival: Path, source: float) -> Sequence[Attempt]:
    """The attempts of a target's ladder, without accuracy control; the last one is "met" or none is.

    Args:
        rival: the float model that runs on the target.
        source: top-1 of the float model.
    """
    can, logs, folder = int8.ABILITIES[target], which.folder / "logs", which.folder / target
    named = {"target": target, "model": str(which.model)}

    def sensitive() -> list[str]:
        told = {"calibration_set": str(which.calibration()), "images": int8.SENSITIVITY_IMAGES}
        return ladder.ranked(
            call("int8_classifier:sensitivities", f"sensitivities-{target}", logs, **named, **told), ""
        )

    def attempt(rung: Rung) -> Attempt:
        out, began = folder / f"{rung.name}{can.suffix}", time.monotonic()
        told = {"recipe": rung.recipe.as_dict(), "calibration": str(which.calibration()), "out": str(out)}
        try:
            facts = call(f"{_STEPS}:quantize_graph", f"{target}-{rung.name}", logs, **named, **told)
        except (ParityFailed, StepFailed) as error:
            outcome: ladder.Outcome = "refused" if isinstance(error, ParityFailed) else "failed"
            return Attempt(rung=rung, outcome=outcome, reason=error.message)
        made = Artifact.record(out, format=can.format, precision="int8", made_by="quantize", settings={"facts": facts})
        float_model = Artifact(
            path=rival, format=can.format, precision="fp32", sha256=sha256_of(rival), made_by="given"
        )
        timing = speed.beside_float(made, float_model, can.runtime, which.inputs(), logs)
        return judged(rung, made, which.top_1(target, out), source, which.max_drop, timing, time.monotonic() - began)

    return ladder.climb(ladder.Ladder(sensitive=sensitive, corrections=can.corrections), attempt)


def judged(
    rung: Rung, made: Artifact, metric: float, source: float, allowed: float, timing: dict[str, Any], seconds: float
) -> Attempt:
    """What an attempt came to: slower than float, dropped below what is allowed, or met."""
    outcome: ladder.Outcome = "dropped" if source - metric > allowed + 1e-9 else "met"
    if "ratio" not in timing:
        outcome = "failed"
    elif timing["verdict"] == "slower":
        outcome = "slower"
    return Attempt(
        rung=rung,
        outcome=outcome,
        reason=f"top-1 {metric:.3f} of {source:.3f}",
        metric=metric,
        drop=source - metric,
        speed=timing,
        size_bytes=size_of(made.path),
        seconds=seconds,
        artifact=made,
    )
