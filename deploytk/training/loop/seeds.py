"""What is random in an epoch is a function of the seed and the epoch: a resumed training draws the same."""

from __future__ import annotations

import numpy as np


def draw(seed: int, *where: int) -> int:
    """A number below 2**31 for an epoch (and an image, ...), the same on every machine."""
    return int(np.random.default_rng([seed, *where]).integers(2**31))
