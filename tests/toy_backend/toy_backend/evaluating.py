"""Weights of the classifier looked at one by one: its three numbers are its modules near, far and bias."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deploytk.errors import InputError
from deploytk.files import written_whole
from deploytk.profile import Profile
from deploytk.training.crossover import halves
from toy_backend import network
from toy_backend.checks import data_seed

_NAMES = ("near.weight", "far.weight", "bias")


class ToyEvaluator:
    """An `Evaluator` for one run. There is no batch norm, and no moving average."""

    def __init__(self, profile: dict[str, Any], run: str) -> None:  # noqa: ARG002
        wanted = Profile.model_validate(profile)
        inputs, classes = network.points(data_seed(wanted) + 1)
        chosen, held_out = (list(part) for part in halves(len(classes), 0))
        self.data = {"choosing": (inputs[chosen], classes[chosen]), "held_out": (inputs[held_out], classes[held_out])}

    def modules(self) -> dict[str, list[str]]:
        return {"near": ["near"], "far": ["far"], "bias": ["bias"]}

    def parts(self) -> dict[str, Any]:
        return {**{name: len(classes) for name, (_, classes) in self.data.items()}, "of": "drawn points"}

    def weights(self, checkpoint: Path, *, averaged: bool = True) -> dict[str, np.ndarray]:  # noqa: ARG002
        try:
            weight = network.checkpoint_tensors(checkpoint)["weight"]
        except Exception as error:
            raise InputError(f"{checkpoint}: damaged checkpoint ({error})") from error
        return {name: weight[i : i + 1] for i, name in enumerate(_NAMES)}

    def settled(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return weights

    def score(self, weights: dict[str, np.ndarray], part: str) -> float:
        return network.measured(_tensors(weights), *self.data[part])["accuracy"]

    def write(self, weights: dict[str, np.ndarray], path: Path) -> None:
        with written_whole(path) as temporary:
            network.write(temporary, _tensors(weights))


def evaluator(profile: dict[str, Any], run: str) -> ToyEvaluator:
    """What scores weights of the run's classifier."""
    return ToyEvaluator(profile, run)


def _tensors(weights: dict[str, np.ndarray]) -> network.Tensors:
    return {"weight": np.concatenate([weights[name] for name in _NAMES]), "velocity": np.zeros(3)}
