"""The ranges of a network's tensors over many images: all they ever reached, or without what only a few of them do."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: name of a tensor -> what the library knows of it, among it "min" and "max".
Ranges = dict[str, dict[str, Any]]


@dataclass
class Observed:
    """What each image's tensors ranged over: two numbers a tensor and image, so that it stays small.

    The library's own way over several images is a moving average, which clips what only some of them reach: on a
    YOLOv8n trained on 60 images the scores came out 4 dB worse (bench/LOG.md).
    """

    first: Ranges = field(default_factory=dict)
    lows: dict[str, array[float]] = field(default_factory=dict)
    highs: dict[str, array[float]] = field(default_factory=dict)

    def add(self, found: Ranges) -> None:
        """Take down the ranges of one more image. A range per channel is of weights, which no image changes."""
        for name, told in found.items():
            self.first.setdefault(name, dict(told))
            if "min" in told and np.size(told["min"]) == 1:
                self.lows.setdefault(name, array("f")).append(float(np.min(told["min"])))
                self.highs.setdefault(name, array("f")).append(float(np.max(told["max"])))

    def within(self, percent: float) -> Ranges:
        """The ranges that so many per cent of the images keep within, at each end; 100 is what any of them reached."""
        return {name: {**told, **self._within(name, told, percent)} for name, told in self.first.items()}

    def _within(self, name: str, told: dict[str, Any], percent: float) -> dict[str, Any]:
        if name not in self.lows:
            return {}
        ends = {"min": np.percentile(self.lows[name], 100 - percent), "max": np.percentile(self.highs[name], percent)}
        return {end: np.full_like(told[end], value) for end, value in ends.items()}
