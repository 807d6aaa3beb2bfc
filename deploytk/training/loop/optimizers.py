"""The optimizer of a profile, its groups with a learning rate of their own for each section (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from deploytk.errors import InputError
from deploytk.profile_training import Train
from deploytk.training.segments import Segment

#: Where the profile leaves lr0 out.
LR0 = {"SGD": 0.01, "RMSProp": 0.001, "Adam": 0.001, "AdamW": 0.001, "NAdam": 0.001, "RAdam": 0.001}


def learning_rate(train: Train) -> float:
    """The initial learning rate: the profile's, or the usual one of its optimizer."""
    return train.lr0 if train.lr0 is not None else LR0.get(train.optimizer, 0.01)


def build(train: Train, segment: Segment, sections: Sequence[Sequence[nn.Parameter]]) -> torch.optim.Optimizer:
    """The optimizer; each of its groups says in `share` which part of the learning rate is its own.

    Args:
        sections: the parameters of each section, from the head to the input. `layer_lr` to the power of its place is
            its share (discriminative learning rates, Howard and Ruder 2018, arXiv 1801.06146).
    """
    groups = list(_groups(train, segment, sections))
    lr, betas = learning_rate(train) * segment.lr_scale, (train.momentum, 0.999)
    made: dict[str, Any] = {
        "SGD": lambda: torch.optim.SGD(groups, lr=lr, momentum=train.momentum, nesterov=train.momentum > 0),
        "RMSProp": lambda: torch.optim.RMSprop(groups, lr=lr, momentum=train.momentum),
        "Adam": lambda: torch.optim.Adam(groups, lr=lr, betas=betas),
        "AdamW": lambda: torch.optim.AdamW(groups, lr=lr, betas=betas),
        "NAdam": lambda: torch.optim.NAdam(groups, lr=lr, betas=betas),
        "RAdam": lambda: torch.optim.RAdam(groups, lr=lr, betas=betas),
    }
    if train.optimizer not in made:
        raise InputError(f"train.optimizer: this backend has no {train.optimizer!r}; use one of {', '.join(made)}")
    optimizer: torch.optim.Optimizer = made[train.optimizer]()
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def _groups(train: Train, segment: Segment, sections: Sequence[Sequence[nn.Parameter]]) -> Iterator[dict[str, Any]]:
    """Two groups for each section: weights decay, biases and the scales of norms (one dimension) do not."""
    decay = train.weight_decay * segment.weight_decay_scale
    for depth, learning in enumerate(sections):
        for params, weight_decay in (
            ([p for p in learning if p.ndim > 1], decay),
            ([p for p in learning if p.ndim <= 1], 0.0),
        ):
            if params:
                yield {"params": params, "weight_decay": weight_decay, "share": train.layer_lr**depth}
