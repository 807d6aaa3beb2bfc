"""What the columns of a results.csv mean, by whatever version of whatever YOLO wrote it."""

from __future__ import annotations

import re

_METRICS = {
    "map_0.5:0.95": "mAP50_95", "map50-95": "mAP50_95", "map_0.5-0.95": "mAP50_95", "map@.5:.95": "mAP50_95",
    "map_0.5": "mAP50", "map50": "mAP50", "map@.5": "mAP50", "precision": "precision", "recall": "recall",
    "accuracy_top1": "top1", "accuracy_top5": "top5",
}  # fmt: skip
_KIND = re.compile(r"\(([A-Za-z])\)$")
_LR = re.compile(r"^(?:x/lr|lr/pg|lr/)(\d+)$")


def meaning(column: str) -> str | None:
    """Our name of a column: `train/box_loss`, `metric/mAP50_95`, `metric/mAP50(M)`, `lr/0`; None of what is none."""
    name = column.strip().strip('"').strip()
    low = name.lower()
    if low in ("epoch", "time"):
        return low
    if found := _LR.match(low):
        return f"lr/{found[1]}"
    if low.startswith(("train/", "val/")):
        return low
    if low.startswith("test/"):  # YOLOv5's classifier validates on what it calls test
        return f"val/{low[5:]}"
    return _metric(name) if low.startswith("metrics/") else None


def _metric(name: str) -> str | None:
    bare = name[len("metrics/") :]
    kind = _KIND.search(bare)
    known = _METRICS.get(_KIND.sub("", bare).strip().lower())
    if known is None:
        return f"metric/{bare}"
    # (B) is boxes: what a log without masks or poses calls by the bare name.
    return f"metric/{known}" + (f"({kind[1].upper()})" if kind and kind[1].upper() != "B" else "")
