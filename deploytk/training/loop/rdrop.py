"""R-Drop: two passes that dropout makes different are to agree (torch).

Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", arXiv 2106.14448, section 2.1, with the mean of
the two losses, as in its published code, so that the loss has the size it has without.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional


def divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Half of KL(p1 || p2) + KL(p2 || p1) of two (N, classes) logits, the mean over N; 0 where they agree."""
    p, q = first.float().log_softmax(-1), second.float().log_softmax(-1)
    there = functional.kl_div(q, p, reduction="batchmean", log_target=True)
    back = functional.kl_div(p, q, reduction="batchmean", log_target=True)
    return (there + back) / 2


def loss(
    forward: Callable[[], torch.Tensor], of: Callable[[torch.Tensor], torch.Tensor], weight: float
) -> torch.Tensor:
    """The mean loss of two passes plus `weight` times their divergence.

    Args:
        forward: one pass with dropout: (N, classes) logits.
        of: the loss of logits.
    """
    first, second = forward(), forward()
    return (of(first) + of(second)) / 2 + weight * divergence(first, second)
