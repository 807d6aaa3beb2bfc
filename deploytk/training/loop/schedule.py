"""The learning rate at any moment of a training."""

from __future__ import annotations

from deploytk.profile_training import Train


def share(train: Train, epoch: float, total: int) -> float:
    """The learning rate as a fraction of lr0, `epoch` epochs (counted from 0.0) into a training of `total`.

    A straight line from 1 to `lrf` over the whole training, under a straight line from 0 within `warmup_epochs`.
    """
    line = 1.0 - (1.0 - train.lrf) * min(1.0, epoch / total)
    warm = min(1.0, epoch / train.warmup_epochs) if train.warmup_epochs else 1.0
    return line * warm
