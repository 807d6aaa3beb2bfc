"""What the exports for several targets begin with: the proved ONNX, and the INT8 model that the ladder comes to."""

from __future__ import annotations

from pathlib import Path

from deploytk.artifact import Artifact
from deploytk.stages import float_models, int8, proof
from deploytk.stages.export_steps import Steps


def exported_onnx(steps: Steps) -> Artifact:
    """The ONNX of the run, proved beside the trained model."""
    return steps.proved(float_models.onnx(steps, steps.source, steps.run.onnx), "onnx")


def quantized(
    steps: Steps, checks: proof.Checks, target: str, model: Artifact, rival: Artifact, out: Path
) -> tuple[Artifact, ...]:
    """The INT8 model that the ladder came to, checked, behind what it was made of; empty where there is none."""
    climbed = int8.quantized(steps, target, model, rival, out)
    checks.ladder(climbed.told)
    if climbed.artifact is None:
        return ()
    checks.agreement(climbed.artifact, steps.source)
    checks.metric(climbed.artifact, steps.source)
    return (*climbed.between, climbed.artifact)
