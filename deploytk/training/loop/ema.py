"""The moving average of the weights: what is validated and deployed (torch)."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from deploytk.profile_training import Ema


def decay_after(ema: Ema | None, updates: int) -> float:
    """How much of the average stays at its `updates`-th update: decay * (1 - exp(-updates / warmup_updates)).

    Without a warm-up the average would consist of the first, random weights for thousands of updates. Without an
    average (`ema` None) nothing of it stays: it follows the weights at once.
    """
    if ema is None:
        return 0.0
    return ema.decay * (1 - math.exp(-updates / ema.warmup_updates)) if ema.warmup_updates else ema.decay


class Average:
    """A copy of a network whose weights and statistics follow it slowly."""

    def __init__(self, model: nn.Module, ema: Ema | None) -> None:
        self.ema, self.updates = ema, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights that a step has just given."""
        self.updates += 1
        decay = decay_after(self.ema, self.updates)
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs)
