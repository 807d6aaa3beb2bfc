"""How alike a converted model must be to its source, by its precision: the one table of thresholds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The least that is accepted. What was measured, and why these numbers, stands in docs/parity.md."""

    sqnr_db: float  # of each output
    layer_db: float  # of a layer: where the outputs are wrong, the first layer below it is named
    top1: float  # share of samples with the same most probable class
    iou: float  # the overlap that makes two boxes partners: 0.5 or 0.9
    boxes: float  # share of the boxes of either model with a partner in the other
    #: Whether these decide where the task metric is known too; otherwise the metric alone does.
    binding: bool


LIMITS = {
    "fp32": Limits(sqnr_db=40.0, layer_db=40.0, top1=0.99, iou=0.9, boxes=0.99, binding=True),
    "fp16": Limits(sqnr_db=30.0, layer_db=30.0, top1=0.99, iou=0.9, boxes=0.97, binding=True),
    "bf16": Limits(sqnr_db=20.0, layer_db=20.0, top1=0.97, iou=0.5, boxes=0.95, binding=True),
    "int8": Limits(sqnr_db=15.0, layer_db=10.0, top1=0.9, iou=0.5, boxes=0.9, binding=False),
}

#: How a runtime calls what it computes in -> the row of the table; the coarsest first.
_WORDS = {"int4": "int8", "int8": "int8", "bfloat16": "bf16", "float16": "fp16"}


def row_for(*precisions: str) -> str:
    """The row of the table for what an artifact says (`int8`) and a runtime really does (`bfloat16`): the coarsest."""
    told = " ".join(precisions)
    found = {row for word, row in _WORDS.items() if word in told} | {row for row in LIMITS if row in told}
    return next((row for row in ("int8", "bf16", "fp16") if row in found), "fp32")
