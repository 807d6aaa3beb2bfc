"""What a backend brings to the loop: network, data, loss, validation (torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What validation found."""

    fitness: float  # higher is better
    metrics: Mapping[str, float]  # its losses among them


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training as the loop sees it. A batch is whatever `collate` makes of a list of the dataset's items."""

    model: nn.Module  # on the device
    sections: Sequence[Sequence[nn.Parameter]]  # from the head to the input, each in one of them
    images: int
    dataset: Dataset[Any]  # by `batches.Key`: what is drawn for an item depends on its key alone
    collate: Callable[[list[Any]], Any]
    logits: Callable[[nn.Module, Any], torch.Tensor]  # of a batch: (N, classes)
    loss: Callable[[torch.Tensor, Any], torch.Tensor]  # of logits and their batch: the mean
    validate: Callable[[nn.Module], Measured]
    weights: NDArray[np.float64] | None = None  # how often each image is drawn in an epoch; None: once
    notes: Mapping[str, Any] = field(default_factory=dict)  # kept beside each epoch
