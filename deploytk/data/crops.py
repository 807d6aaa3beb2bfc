"""Which part of an image the classifier of a pipeline is given: a box with a margin, as whole pixels (numpy only)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Crops(BaseModel):
    """How boxes become crops. Train the classifier on crops that were made so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: Annotated[float, Field(strict=True, ge=0, le=2, allow_inf_nan=False)] = 0.0
    square: Annotated[bool, Field(strict=True)] = False
    most: Annotated[int, Field(strict=True, ge=1, le=300)] = 32

    def places(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
        """(n, 4) int64: left, top, right, bottom of each crop in whole pixels, inside the image, never empty.

        `margin` times the box's width is added at the left and at the right, times its height above and below. A
        square has the longer side, around the box's centre. What lies outside of the image is cut off.

        Args:
            boxes: (n, 4) x1, y1, x2, y2 in pixels of the image of `height` and `width`.
        """
        centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        halves = halves * np.float32(1 + 2 * self.margin)
        if self.square:
            halves = np.repeat(halves.max(1, keepdims=True), 2, axis=1)
        limits = np.array([width, height])
        low = np.clip(np.floor(centres - halves), 0, limits - 1)
        high = np.clip(np.ceil(centres + halves), low + 1, limits)
        return np.concatenate([low, high], 1).astype(np.int64)
