"""How much of a tensor survives: the power of the signal against that of the error, summed up image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Equal values have no noise at all; 200 dB is beyond what float32 can show.
_EQUAL_DB = 200.0


@dataclass(kw_only=True)
class Power:
    """The power of a float tensor and of what another one differs from it by."""

    signal: float = 0.0
    noise: float = 0.0

    def take(self, expected: np.ndarray, got: np.ndarray) -> None:
        """Count one more image."""
        wide = expected.astype(np.float64)
        self.signal += float((wide**2).sum())
        self.noise += float(((wide - got) ** 2).sum())

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / noise), within +-200 dB."""
        if not self.noise:
            return _EQUAL_DB
        if not self.signal or not math.isfinite(self.noise):
            return -_EQUAL_DB
        return max(-_EQUAL_DB, min(_EQUAL_DB, 10 * math.log10(self.signal / self.noise)))
