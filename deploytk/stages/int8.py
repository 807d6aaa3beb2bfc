"""The INT8 model of one target: each rung of the ladder made, proved and timed, and the one taken put in its place."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.artifact import Artifact, finished, sidecar
from deploytk.errors import ParityFailed, StepFailed, TrainingFailed
from deploytk.files import parts_of, size_of, write_json, written_whole
from deploytk.recipe import Correction, Recipe
from deploytk.stages import float_models, int8_training, ladder, proof, speed
from deploytk.stages.export_steps import Steps
from deploytk.stages.ladder import Attempt, Ladder, Outcome, Rung
from deploytk.stages.real_inputs import real_inputs

#: What runs in child processes.
STEPS = "deploytk.stages.int8_steps"
#: With how many images of the calibration set the sensitivity of each layer is measured.
SENSITIVITY_IMAGES = 4
#: Lost accuracy is compared with what is allowed up to the rounding of a sum of floats.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What the ladder can do on a target. `runtime` is how the target is called where it is proved and measured."""

    format: str
    suffix: str
    runtime: str
    corrections: tuple[Correction, ...]
    layers_in_float: bool = False
    accuracy_control: bool = False
    runs_float: bool = True  # then INT8 must not be slower
    timed: bool = True  # whether that is measured here, attempt by attempt


ABILITIES = {
    "onnx": Abilities(
        format="onnx",
        suffix=".onnx",
        runtime="onnx",
        corrections=("fast_bias", "percentile", "smooth_quant"),
        layers_in_float=True,
    ),
    "openvino": Abilities(
        format="openvino-xml",
        suffix=".xml",
        runtime="openvino",
        corrections=("fast_bias", "percentile", "smooth_quant"),
        layers_in_float=True,
        accuracy_control=True,
    ),
    # Timed as an engine beside the float16 one, where there is a GPU (`export_tensorrt`).
    "tensorrt": Abilities(
        format="onnx",
        suffix=".onnx",
        runtime="tensorrt",
        corrections=("fast_bias", "percentile", "smooth_quant"),
        layers_in_float=True,
        timed=False,
    ),
    "npu": Abilities(
        format="tflite",
        suffix=".tflite",
        runtime="litert",
        corrections=("percentile",),
        runs_float=False,
        timed=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """What the ladder came to: the artifact in its place (None where there is none to deploy) and every attempt."""

    artifact: Artifact | None
    attempts: tuple[Attempt, ...]
    told: dict[str, Any]  # the report's section "ladder"
    between: tuple[Artifact, ...] = ()  # from the trained model to the artifact, where that is not made of `model`


def quantized(steps: Steps, target: str, model: Artifact, rival: Artifact, out: Path) -> Climbed:
    """The INT8 version of `model` at `out`, and how it was found.

    Where no attempt is good enough, nothing stands at `out`, unless the target runs nothing but INT8: then the attempt
    that lost least stands there, for the report to judge.

    Args:
        model: the float model that the target quantizes.
        rival: the float model that runs on the target: what INT8 must not be slower than.
    """
    climber = _Climber(steps, target, model, rival, out.parent / "attempts")
    attempts = ladder.climb(climber.ladder(), climber.attempt)
    chosen = ladder.taken(attempts) or (None if climber.can.runs_float else ladder.least_lost(attempts))
    told = climber.told(attempts)
    if chosen is None or chosen.artifact is None:
        _removed(out)
        return Climbed(artifact=None, attempts=attempts, told=told)
    steps.skipped[out.name] = steps.skipped[chosen.artifact.path.name]
    placed = _in_place(chosen.artifact, out, told)
    between = climber.finetuned if chosen.rung.way == "qat" else ()
    return Climbed(artifact=placed, attempts=attempts, told=told, between=between)


class _Climber:
    """The attempts of one target, each made in a process of its own, and skipped where it already stands."""

    def __init__(self, steps: Steps, target: str, model: Artifact, rival: Artifact, folder: Path) -> None:
        self.steps, self.target, self.model, self.rival, self.folder = steps, target, model, rival, folder
        self.metric = steps.backend.METRIC
        self.can = ABILITIES[target]
        self.allowed = steps.profile.budget.max_accuracy_drop
        self.distributions = (*steps.backend.DISTRIBUTIONS, *plugins.load("targets", target).DISTRIBUTIONS)
        self.calibration = steps.call(f"{STEPS}:calibration", "calibration", **self._run())
        self.sensitivities: list[dict[str, Any]] = []
        self.finetuned: tuple[Artifact, ...] = ()  # the checkpoint trained on with rounding, and its float model

    def ladder(self) -> Ladder:
        """The rungs of this target."""
        return Ladder(
            sensitive=self._sensitive if self.can.layers_in_float else None,
            corrections=self.can.corrections,
            accuracy_control=self.can.accuracy_control,
            training_epochs=int8_training.epochs(self.steps),
        )

    def attempt(self, rung: Rung) -> Attempt:
        """What comes of one rung; a model that is refused and a step that dies are results too."""
        began = time.monotonic()
        try:
            made = self.steps.proved(self._made(rung), self.can.runtime)
        except (ParityFailed, StepFailed, TrainingFailed) as error:
            outcome: Outcome = "refused" if isinstance(error, ParityFailed) else "failed"
            seconds = time.monotonic() - began
            return Attempt(rung=rung, outcome=outcome, reason=error.message, seconds=seconds)
        broken = made.settings["agreement"].get("error")
        if broken:
            return Attempt(rung=rung, outcome="refused", reason=broken, seconds=time.monotonic() - began)
        made = self._timed(made)
        if "seconds" not in made.settings:
            made = proof.kept(made, seconds=round(time.monotonic() - began, 1))
        return judged(rung, made, self.steps.source, self.metric, self.allowed)

    def told(self, attempts: Sequence[Attempt]) -> dict[str, Any]:
        """The report's section "ladder"."""
        return {
            "target": self.target,
            "metric": self.metric,
            "source": self.steps.source.metrics.get(self.metric, 0.0),
            "max_drop": self.allowed,
            "calibration": {name: self.calibration[name] for name in ("sha256", "images")},
            "attempts": [a.as_dict() for a in attempts],
            "sensitivities": self.sensitivities[: ladder.KEPT_IN_FLOAT[-1]],
        }

    def _made(self, rung: Rung) -> Artifact:
        out = self.folder / f"{rung.name}{self.can.suffix}"
        model = self._finetuned(rung.recipe) if rung.way == "qat" else self.model
        settings = {"way": rung.way, "recipe": rung.recipe.as_dict(), "calibration": self.calibration["sha256"]}
        if rung.way == "accuracy_control":
            settings |= {"max_drop": self.allowed, "data": self.steps.data}
        return self.steps.made(
            out,
            model,
            lambda: self._built(rung, model, out),
            stage="quantize",
            format=self.can.format,
            precision="int8",
            settings=settings,
            distributions=self.distributions,
        )

    def _finetuned(self, recipe: Recipe) -> Artifact:
        """The float model with weights that have learned to be rounded."""
        trained = int8_training.finetuned(self.steps, recipe, self.calibration, self.folder / "qat.pt")
        out = self.folder / f"qat_float{self.model.path.suffix}"
        model = float_models.OF[plugins.load("targets", self.target).SOURCE](self.steps, trained, out)
        self.finetuned = (trained, model)
        return model

    def _built(self, rung: Rung, model: Artifact, out: Path) -> dict[str, Any]:
        """Make it from `model`, in a child; facts about how it went."""
        where = {"target": self.target, "model": str(model.path), "out": str(out)}
        where["calibration"] = self.calibration["path"]
        name = f"quantize-{self.target}-{rung.name}"
        facts: dict[str, Any]
        if rung.way != "accuracy_control":
            facts = self.steps.call(f"{STEPS}:quantize_graph", name, recipe=rung.recipe.as_dict(), **where)
            return facts
        wanted = {"metric": self.metric, "max_drop": self.allowed}
        facts = self.steps.call(f"{STEPS}:accuracy_controlled", name, **wanted, **self._run(), **where)
        return facts

    def _run(self) -> dict[str, Any]:
        """What a step is told that needs the run's own images."""
        run = self.steps.run
        return {"profile": self.steps.raw, "run": str(run.path), "checkpoint": str(run.model)}

    def _timed(self, made: Artifact) -> Artifact:
        """`made` with its latency beside the float model's, measured once on this machine."""
        if not self.can.timed:
            return made
        if made.settings.get("speed", {}).get("measured_on") == speed.measured_on(self.rival):
            return made
        inputs = real_inputs(self.steps.profile, self.steps.run, self.steps.listen)
        logs = self.steps.run.logs / f"speed-{self.target}-{made.path.stem}"
        found = speed.beside_float(made, self.rival, self.can.runtime, inputs, logs, self.steps.listen)
        return proof.kept(made, speed=found)

    def _sensitive(self) -> list[str]:
        """The layers in the order in which they are kept in float, their sensitivities measured once."""
        out = self.folder / "sensitivities.json"
        kwargs = {"target": self.target, "model": str(self.model.path), "out": str(out), "images": SENSITIVITY_IMAGES}
        source = {"backend": self.steps.profile.backend, "checkpoint": str(self.steps.run.model)}
        self.steps.made(
            out,
            self.model,
            lambda: self.steps.call(
                f"{STEPS}:sensitivities",
                f"sensitivities-{self.target}",
                calibration=self.calibration["path"],
                **kwargs,
                **source,
            ),
            stage="sensitivities",
            format="json",
            precision="fp32",
            settings={"calibration": self.calibration["sha256"], "images": SENSITIVITY_IMAGES},
            distributions=self.distributions,
        )
        found = json.loads(out.read_text(encoding="utf-8"))
        self.sensitivities = found["layers"]
        return ladder.ranked(found["layers"], found["head"])


def judged(rung: Rung, made: Artifact, source: Artifact, metric: str, allowed: float) -> Attempt:
    """What an attempt came to that could be made, proved and (where a float model runs on the target) timed.

    Args:
        metric: the one that decides; at most `allowed` of it may be lost.
    """
    before, after = source.metrics.get(metric, 0.0), made.metrics.get(metric, 0.0)
    told = made.settings.get("speed", {})
    lost = before - after > allowed + _ROUNDING
    timing = told.get("verdict", "not measured")
    reasons = [f"{metric} {after:.3f} of {before:.3f}: {_points(before - after)}, {100 * allowed:.3g} allowed"]
    reasons += [_in_words(told)] if told else []
    outcome: Outcome = "dropped" if lost else "met"
    if timing == "slower":
        outcome = "slower"
    elif "ratio" not in told and told:
        outcome = "failed"
    return Attempt(
        rung=rung,
        outcome=outcome,
        reason="; ".join(reasons),
        metric=after,
        drop=before - after,
        speed=told,
        size_bytes=size_of(made.path),
        seconds=made.settings.get("seconds", 0.0),
        artifact=made,
    )


def _points(drop: float) -> str:
    return f"{100 * drop:.1f} points lost" if drop >= 0 else f"{-100 * drop:.1f} points gained"


def _in_words(told: dict[str, Any]) -> str:
    if "ratio" not in told:
        return f"could not be timed: {told['verdict'].replace('_', ' ')}: {told.get('reason', '')}"
    ends = [f"{end:.2f}" if end else "unknown" for end in (told["low"], told["high"])]
    words = f"{told['ratio']:.2f} times as long as float ({ends[0]} to {ends[1]})"
    return words + {"slower": ": slower than float", "faster": ""}.get(told["verdict"], ": no faster beyond noise")


def _in_place(made: Artifact, out: Path, told: dict[str, Any]) -> Artifact:
    """A copy of the artifact at `out`, with the whole ladder in its lineage."""
    if finished(out, made.key) is None:
        for file in parts_of(made.path):
            with written_whole(out.with_suffix(file.suffix)) as partial:
                shutil.copyfile(file, partial)
    placed = replace(made, path=out, settings={**made.settings, "ladder": told})
    write_json(sidecar(out), placed.as_dict())
    return placed


def _removed(model: Path) -> None:
    """Take away what an earlier export left: it must not pass for this one's."""
    for file in (*parts_of(model), sidecar(model)):
        file.unlink(missing_ok=True)
