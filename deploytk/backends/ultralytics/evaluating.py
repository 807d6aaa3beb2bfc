"""Weights of a detector looked at one by one: grafted, averaged, scored on parts of the validation images (torch)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deploytk.backends.ultralytics import PRIMARY, finishing, network, scoring, settling
from deploytk.backends.ultralytics.checks import view_of
from deploytk.profile import Profile
from deploytk.training import closing
from deploytk.training.averaging import Weights
from deploytk.training.crossover import Part, divided
from deploytk.training.loop.evaluating import NetworkEvaluator

#: Training images that batch-norm statistics are taken from: at 5 x 5 cells still 3,200 values for each channel.
_SETTLING = 128
#: What images are drawn with: always the same ones, so that scores can be compared.
_SEED = 0


class DetectorEvaluator(NetworkEvaluator):
    """An `Evaluator` (training/crossover.py) for one run."""

    def __init__(self, profile: dict[str, Any], run: str | Path) -> None:
        self.wanted, self.folder = Profile.model_validate(profile), Path(run).resolve()
        self.view = view_of(profile, self.folder)
        super().__init__(finishing.fresh_network(self.wanted, self.view))
        splits = self.view.data.splits
        self._parts, self._of = divided(splits["val"], splits.get("test", ()), _SEED)

    def modules(self) -> dict[str, list[str]]:
        """backbone, neck and head, as profiles know them."""
        backbone, last = (
            network.backbone_layers(self.wanted.model.arch, self.wanted.model.scale),
            len(self.model.model) - 1,
        )
        layers = {"backbone": range(backbone), "neck": range(backbone, last), "head": range(last, last + 1)}
        return {name: [f"model.{n}" for n in numbers] for name, numbers in layers.items()}

    def parts(self) -> dict[str, Any]:
        """How many images each part has, and where they are from."""
        return {**{name: len(samples) for name, samples in self._parts.items()}, "of": self._of}

    def score(self, weights: Weights, part: Part) -> float:
        """mAP50-95 on a part of the images, by the code that measures every artifact; on the CPU."""
        self.load(weights)
        names, size = self.view.data.classes, self.wanted.train.imgsz
        return scoring.measured(self._predict, self._parts[part], names, size, self.view.folder)[PRIMARY]

    def write(self, weights: Weights, path: Path) -> None:
        """Write a model.pt."""
        self.load(weights)
        closing.refuse_dead(self.model.state_dict(), "the crossover")
        finishing.write_model(self.wanted, self.view, self.model, path)

    def settling(self) -> list[torch.Tensor]:
        """Training images, drawn once."""
        return self._settling

    @cached_property
    def _settling(self) -> list[torch.Tensor]:
        return settling.batches(self.wanted, self.folder, self.view, count=_SETTLING, seed=_SEED)

    def _predict(self, batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            decoded: np.ndarray = self.model(torch.from_numpy(batch))[0].numpy()
        return decoded


def evaluator(profile: dict[str, Any], run: str | Path) -> DetectorEvaluator:
    """What scores weights of the run's network."""
    return DetectorEvaluator(profile, run)
