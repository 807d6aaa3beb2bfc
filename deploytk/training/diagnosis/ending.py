"""Whether a training was stopped by its patience, also where the log does not say so."""

from __future__ import annotations

from deploytk.training.diagnosis.values import Curves, Point


def stopped_by_patience(curves: Curves) -> Point | None:
    """The best epoch, where the last one is that plus the patience; None where something else ended the training.

    Patience counts what the trainer compares, the weighted mean of mAP50 and mAP50-95: near enough its metric.
    """
    patience, metric = curves.setting("patience"), curves.metric()
    best = metric.best() if metric else None
    if best is None or isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
        return None
    last = curves.rows[-1].epoch
    short = curves.planned is None or last + 1 < curves.planned
    return best if short and last - best.epoch == patience else None
