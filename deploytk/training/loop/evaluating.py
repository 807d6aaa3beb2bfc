"""What evaluators of torch networks share: weights as arrays, put in, and batch-norm statistics anew (torch)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from deploytk.errors import InputError
from deploytk.training.averaging import Weights
from deploytk.training.loop import snapshots


class NetworkEvaluator:
    """The half of an `Evaluator` (training/crossover.py) that knows only its network."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.float().eval()

    def weights(self, checkpoint: Path, *, averaged: bool = True) -> Weights:
        """The moving average that a checkpoint holds, or the weights as they were trained.

        Raises:
            InputError: it is missing or damaged.
        """
        try:
            state = snapshots.load(checkpoint)["ema" if averaged else "model"]
            self.model.load_state_dict(state)
        except FileNotFoundError as error:
            raise InputError(f"{checkpoint}: no such checkpoint") from error
        except Exception as error:  # torch raises whatever a damaged file makes it stumble over
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"{checkpoint}: damaged checkpoint ({said})") from error
        return arrays(state)

    def settled(self, weights: Weights) -> Weights:
        """The weights with batch-norm statistics of training images, augmented as in training."""
        self.load(weights)
        update_bn(self.settling(), self.model)
        self.model.eval()
        return arrays(self.model.state_dict())

    def settling(self) -> Iterable[torch.Tensor]:
        """The inputs that statistics are taken from."""
        raise NotImplementedError

    def load(self, weights: Weights) -> None:
        """Make them the network's."""
        self.model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self.model.eval()


def arrays(state: dict[str, torch.Tensor]) -> Weights:
    """Copies: what a network holds is changed by the next weights."""
    return {
        name: np.array((t.detach().float() if t.is_floating_point() else t.detach()).cpu().numpy())
        for name, t in state.items()
    }
