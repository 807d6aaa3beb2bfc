"""How well a classifier recognises a split (torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from deploytk.backends.classifier.pictures import Prepared, collate
from deploytk.data.classified import Picture
from deploytk.training.loop.group import ALONE, Group
from deploytk.training.loop.task import Measured

_TOP = 5


def measured(
    model: nn.Module,
    pictures: Sequence[Picture],
    *,
    imgsz: int,
    batch: int,
    device: torch.device,
    workers: int = 0,
    alive: Callable[[], None] = lambda: None,
    group: Group = ALONE,
) -> Measured:
    """top1, top5 and val_loss of a network in eval mode; top1 is the fitness.

    Args:
        batch: of all processes together.
        alive: called after each batch.
        group: the processes that do it together, each some of the pictures.
    """
    loader = DataLoader(
        Prepared(pictures, imgsz),
        batch_size=max(1, batch // group.size),
        sampler=range(group.rank, len(pictures), group.size),
        collate_fn=collate,
        num_workers=workers,
    )
    right, among, loss = 0, 0, 0.0
    with torch.no_grad():
        for inputs, labels in loader:
            logits, wanted = model(inputs.to(device)).float(), labels.to(device)
            hits = logits.topk(min(_TOP, logits.shape[1])).indices == wanted[:, None]
            right, among = right + int(hits[:, 0].sum()), among + int(hits.sum())
            loss += float(functional.cross_entropy(logits, wanted, reduction="sum"))
            alive()
    sums = group.added(torch.tensor([right, among, loss], dtype=torch.float64, device=device))
    metrics = dict(zip(("top1", "top5", "val_loss"), (sums / len(pictures)).tolist(), strict=True))
    return Measured(fitness=metrics["top1"], metrics=metrics)
