"""The trained pipeline, in torch: the same stages around the two checkpoints, prepared as these were validated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.graphs.pickles import checkpoint_kind
from deploytk.pipelines.description import Description
from deploytk.pipelines.running import Pipeline
from deploytk.pipelines.sessions import Opened, Rows

#: Whose checkpoint a file is -> the backend that made it.
_BACKENDS = {"deploytk-detector": "ultralytics", "deploytk-classifier": "classifier"}


class Trained:
    """A checkpoint as a session (`deploytk.runtimes.Session`): prepared NCHW float32 in, decoded outputs out."""

    def __init__(self, backend: ModuleType, checkpoint: Path, size: tuple[int, int], batch: int | str) -> None:
        self._predict, self._backend, self._checkpoint = backend.torch_predictor(checkpoint), backend, checkpoint
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec(name="images", shape=(batch, 3, *size), dtype="float32"),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec(name="output", shape=(), dtype="float32"),)
        shape = self.run({"images": np.zeros((1, 3, *size), np.float32)})["output"].shape
        self.outputs = (TensorSpec(name="output", shape=(batch, *shape[1:]), dtype="float32"),)
        self.details: dict[str, Any] = {"provider": "torch", "precision": "float32"}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The decoded output."""
        maps = self._predict(feed["images"])
        return {"output": self._backend.decode(maps, self._checkpoint)}

    def another(self) -> Self:
        """The session itself: it holds nothing of a run."""
        return self


def trained(told: Description, detector: Path, classifier: Path) -> Pipeline:
    """The pipeline of two checkpoints, with the thresholds and crops of one that was deployed.

    Sizes, preparation and names are the checkpoints' own: what the deployed one has otherwise is a difference.

    Raises:
        InputError: a file is no checkpoint of the kind that is needed.
    """
    first, size = _described(detector, "deploytk-detector")
    second, _ = _described(classifier, "deploytk-classifier")
    preparation = Preparation.model_validate(second["preparation"])
    square = TensorSpec(name="images", shape=(1, 3, size, size), dtype="float32")
    described = told.model_copy(
        update={
            "detector": told.detector.model_copy(
                update={
                    "preparation": Preparation.for_input(square, "detector"),
                    "labels": tuple(map(str, first["classes"])),
                }
            ),
            "classifier": told.classifier.model_copy(
                update={"preparation": preparation, "labels": tuple(map(str, second["classes"]))}
            ),
        }
    )
    sessions = Opened(
        detector=Trained(_backend("deploytk-detector"), detector, (size, size), 1),
        classifier=Rows(
            {None: Trained(_backend("deploytk-classifier"), classifier, preparation.size, "n")}, told.classifier.batch
        ),
    )
    return Pipeline(described, sessions)


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path stands for: a model.pt, or the run folder it is in.

    Raises:
        InputError: there is none.
    """
    found = path / "model.pt" if path.is_dir() else path
    if not found.is_file():
        raise InputError(f"{path}: no checkpoint here; give the model.pt of a run, or its folder")
    return found


def _described(checkpoint: Path, kind: str) -> tuple[dict[str, Any], int]:
    """(what a checkpoint says of itself, its input size)."""
    found = checkpoint_kind(checkpoint)
    if found != kind:
        wanted = kind.removeprefix("deploytk-")
        raise InputError(f"{checkpoint}: no {wanted} of deploytk ({found}); give the model.pt of a {wanted}'s run")
    told: dict[str, Any] = _backend(kind).describe(checkpoint)
    return told, int(told["imgsz"])


def _backend(kind: str) -> ModuleType:
    return plugins.load("backends", _BACKENDS[kind])
