"""Label smoothing in a detector's loss: Ultralytics dropped the setting (torch)."""

from __future__ import annotations

import torch
from torch import nn


class SmoothedBce(nn.Module):  # type: ignore[misc, unused-ignore]
    """The classification loss of a detector with softened targets.

    A target t of an anchor that has an object becomes (1 - s) t + s sum(t) / nc (Szegedy et al. 2016, arXiv 1512.00567,
    with the weight that the assigner gave the anchor in place of 1); anchors without an object keep their zeros, of
    which there are thousands.
    """

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner, self.share = inner, share

    def forward(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of (..., nc) scores, not reduced."""
        loss: torch.Tensor = self.inner(scores, smoothed(targets, self.share))
        return loss


def smoothed(targets: torch.Tensor, share: float) -> torch.Tensor:
    """(..., nc) targets with `share` of each anchor's weight spread over all classes; their sums stay."""
    return targets * (1.0 - share) + targets.sum(-1, keepdim=True) * (share / targets.shape[-1])
