"""Weights of a detector looked at one by one: grafted, averaged, scored on parts of the validation images (torch)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import update_bn

from deploytk.backends.ultralytics import PRIMARY, finishing, network, scoring, settling, snapshots
from deploytk.backends.ultralytics.checks import view_of
from deploytk.data.dataset import Sample
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.training import closing
from deploytk.training.averaging import Weights
from deploytk.training.crossover import Part, halves

#: Training images that batch-norm statistics are taken from: at 5 x 5 cells still 3,200 values for each channel.
_SETTLING = 128
#: What images are drawn with: always the same ones, so that scores can be compared.
_SEED = 0


class DetectorEvaluator:
    """An `Evaluator` (training/crossover.py) for one run."""

    def __init__(self, profile: dict[str, Any], run: str | Path) -> None:
        self.wanted, self.folder = Profile.model_validate(profile), Path(run).resolve()
        self.view = view_of(profile, self.folder)
        self.model = finishing.fresh_network(self.wanted, self.view).float().eval()
        self._parts, self._of = self._divided()

    def _divided(self) -> tuple[dict[Part, list[Sample]], str]:
        val, test = self.view.data.splits["val"], self.view.data.splits.get("test", ())
        if test:
            return {"choosing": list(val), "held_out": list(test)}, "the validation split, and the test split"
        choosing, held_out = halves(len(val), _SEED)
        parts: dict[Part, list[Sample]] = {
            "choosing": [val[i] for i in choosing],
            "held_out": [val[i] for i in held_out],
        }
        return parts, f"two halves of the validation split, drawn with seed {_SEED}"

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

    def weights(self, checkpoint: Path, *, averaged: bool = True) -> Weights:
        """The moving average that a checkpoint holds, or the weights as they were trained."""
        try:
            state = snapshots.load(checkpoint)["ema" if averaged else "model"]
            self.model.load_state_dict(state)
        except FileNotFoundError as error:
            raise InputError(f"{checkpoint}: no such checkpoint") from error
        except Exception as error:  # torch raises whatever a damaged file makes it stumble over
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"{checkpoint}: damaged checkpoint ({said})") from error
        return _arrays(state)

    def settled(self, weights: Weights) -> Weights:
        """The weights with batch-norm statistics of training images, augmented as in training."""
        self._load(weights)
        update_bn(self._settling, self.model)
        self.model.eval()
        return _arrays(self.model.state_dict())

    def score(self, weights: Weights, part: Part) -> float:
        """mAP50-95 on a part of the images, by the code that measures every artifact; on the CPU."""
        self._load(weights)
        names, size = self.view.data.classes, self.wanted.train.imgsz
        return scoring.measured(self._predict, self._parts[part], names, size, self.view.folder)[PRIMARY]

    def write(self, weights: Weights, path: Path) -> None:
        """Write a model.pt."""
        self._load(weights)
        closing.refuse_dead(self.model.state_dict(), "the crossover")
        finishing.write_model(self.wanted, self.view, self.model, path)

    def _load(self, weights: Weights) -> None:
        self.model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self.model.eval()

    def _predict(self, batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            decoded: np.ndarray = self.model(torch.from_numpy(batch))[0].numpy()
        return decoded

    @cached_property
    def _settling(self) -> list[torch.Tensor]:
        return settling.batches(self.wanted, self.folder, self.view, count=_SETTLING, seed=_SEED)


def evaluator(profile: dict[str, Any], run: str | Path) -> DetectorEvaluator:
    """What scores weights of the run's network."""
    return DetectorEvaluator(profile, run)


def _arrays(state: dict[str, torch.Tensor]) -> Weights:
    """Copies: what the network holds is changed by the next weights."""
    return {
        name: np.array((t.detach().float() if t.is_floating_point() else t.detach()).cpu().numpy())
        for name, t in state.items()
    }
