"""The last rung of the INT8 ladder: a few more epochs with the rounding in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.recipe import Recipe
from deploytk.stages.export_steps import Steps

_CHILD = "deploytk.stages.int8_steps:finetune_quantized"


def epochs(steps: Steps) -> int:
    """How many epochs the profile asks for; 0 where its backend cannot train a network that rounds."""
    return steps.profile.export.qat_epochs if getattr(steps.backend, "FINETUNES_QUANTIZED", False) else 0


def finetuned(steps: Steps, recipe: Recipe, calibration: Mapping[str, Any], out: Path) -> Artifact:
    """The checkpoint at `out`: the run's own, trained on with INT8's rounding in all layers that are not kept in float.

    Raises:
        TrainingFailed: it diverged.
    """
    asked = {"epochs": epochs(steps), "float_nodes": list(recipe.float_nodes)}
    shaped_by = {"calibration": calibration["sha256"], "data": steps.data, "train": steps.raw["train"]}
    return steps.made(
        out,
        steps.source,
        lambda: steps.call(
            _CHILD,
            "finetune-quantized",
            profile=steps.raw,
            run=str(steps.run.path),
            checkpoint=str(steps.run.model),
            out=str(out),
            calibration=calibration["path"],
            **asked,
        ),
        stage="finetune",
        format="pt",
        precision="fp32",
        settings={**asked, **shaped_by},
        distributions=steps.backend.DISTRIBUTIONS,
    )
