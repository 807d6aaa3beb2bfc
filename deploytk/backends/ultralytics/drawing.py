"""What is random in an epoch, made a function of the seed and the epoch: a resumed training draws the same (torch)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from deploytk.training.loop import seeds


def begin(trainer: Any, epoch: int) -> None:
    """Set everything that is drawn from for an epoch (from 0): order, augmentation, the images of mosaics.

    With worker processes only the order within a segment's start is set: their own state cannot be reached.
    """
    loader = trainer.train_loader
    draw = seeds.draw(trainer.args.seed, epoch)
    random.seed(draw)
    np.random.seed(draw)
    torch.manual_seed(draw)
    if loader.num_workers and loader.iterator is not None:
        return  # new workers for each epoch would cost more than an exact repetition is worth
    loader.generator.manual_seed(draw)
    _refill(loader.dataset)
    loader.reset()


def _refill(dataset: Any) -> None:
    """Let mosaics be drawn from images chosen by the seed, not from those that the epoch before read last."""
    for index in dataset.buffer:
        dataset.ims[index] = dataset.im_hw0[index] = dataset.im_hw[index] = None
    room = max(0, dataset.max_buffer_length - 1)
    dataset.buffer = random.sample(range(len(dataset)), min(room, len(dataset)))
