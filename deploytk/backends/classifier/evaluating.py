"""Weights of a classifier looked at one by one: grafted, averaged, scored on parts of the validation images (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deploytk.backends.classifier import PRIMARY, finishing, measuring, network, pictures
from deploytk.backends.classifier.checks import dataset
from deploytk.profile import Profile
from deploytk.training import closing
from deploytk.training.averaging import Weights
from deploytk.training.crossover import Part, divided
from deploytk.training.loop import batches
from deploytk.training.loop.evaluating import NetworkEvaluator

#: Training images that batch-norm statistics are taken from.
_SETTLING = 512
_BATCH = 32
_SEED = 0


class ClassifierEvaluator(NetworkEvaluator):
    """An `Evaluator` (training/crossover.py) for one run, on the CPU."""

    def __init__(self, profile: dict[str, Any]) -> None:
        self.wanted = Profile.model_validate(profile)
        self.data = dataset(self.wanted)
        super().__init__(finishing.fresh_network(self.wanted, self.data))
        splits = self.data.splits
        self._parts, self._of = divided(splits["val"], splits.get("test", ()), _SEED)

    def modules(self) -> dict[str, list[str]]:
        """backbone and head: the last layer, and everything before it."""
        return network.modules(self.model)

    def parts(self) -> dict[str, Any]:
        """How many images each part has, and where they are from."""
        return {**{name: len(of) for name, of in self._parts.items()}, "of": self._of}

    def score(self, weights: Weights, part: Part) -> float:
        """top1 on a part of the images."""
        self.load(weights)
        size, cpu = self.wanted.train.imgsz, torch.device("cpu")
        return measuring.measured(self.model, self._parts[part], imgsz=size, batch=_BATCH, device=cpu).metrics[PRIMARY]

    def write(self, weights: Weights, path: Path) -> None:
        """Write a model.pt."""
        self.load(weights)
        closing.refuse_dead(self.model.state_dict(), "the crossover")
        finishing.write_model(self.wanted, self.data, self.model, path)

    def settling(self) -> list[torch.Tensor]:
        """Training images, varied as in training, the same ones each time."""
        train = self.data.splits["train"]
        varied = pictures.Varied(train, self.wanted.train.imgsz, self.wanted.train)
        # Of all of them: they stand in the order of their classes.
        steps = batches.plan(len(train), batch=_BATCH, accumulate=1, seed=_SEED, epoch=1)[: _SETTLING // _BATCH]
        given = (pictures.collate([varied[key] for key in keys])[0] for step in steps for keys in step)
        return [pictures.normalised(images) for images in given]


def evaluator(profile: dict[str, Any], run: str | Path) -> ClassifierEvaluator:  # noqa: ARG001
    """What scores weights of the run's network."""
    return ClassifierEvaluator(profile)
