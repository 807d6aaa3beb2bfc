"""deploytk: from a trained model to a proven verdict on its target."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from deploytk.pipelines.running import Pipeline

__version__ = "0.1.0"

# ONNX Runtime (1.31, on Linux too) reports each session to its makers over the network, from threads of its own
# that share a data base in the user's home: no part of a measurement, and nobody's business. Read when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(pipeline: Path | str, *, images: int = 1) -> Pipeline:
    """The two-stage pipeline in a folder, ready: `deploytk.load("pills")("photo.jpg").names`. See docs/pipeline.md.

    Args:
        images: how many images its detector takes at a time in `many`.

    Raises:
        InputError: no pipeline, a wrong key in its pipeline.json, or a model that is missing or does not fit.
        MissingDependency: its runtime is not installed.
    """
    from deploytk.pipelines import running  # importing deploytk stays light

    return running.load(pipeline, images=images)
