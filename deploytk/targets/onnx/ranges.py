"""The range of each activation over the calibration images, streamed: no activation outlives its image.

ONNX Runtime's own percentile and entropy calibrators keep every activation of every image, 51 MB for one of 320 px.
Here a first pass finds the extremes and a second one fills histograms of fixed bins. The thresholds are then ONNX
Runtime's own: `HistogramCollector` finds them in the histograms.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from onnxruntime.quantization.calibrate import HistogramCollector

from deploytk import worker
from deploytk.targets.onnx.running import Feeds, values

Method = Literal["minmax", "percentile", "entropy"]
Ranges = dict[str, tuple[float, float]]

#: Bins of the percentile's histogram of magnitudes, and the percentile: ONNX Runtime's defaults.
_BINS, _PERCENTILE = 2048, 99.999
#: Bins of entropy's histogram, and how many of them count as quantized. With its default of 128 bins ONNX Runtime
#: compares one threshold with itself: its entropy is then the same as minmax.
_ENTROPY_BINS, _QUANTIZED_BINS = 512, 128


@dataclass(kw_only=True)
class _Extent:
    """The extremes of one tensor so far."""

    low: float = np.inf
    high: float = -np.inf
    least: float = np.inf  # the smallest magnitude

    def widen(self, found: np.ndarray) -> None:
        """Hold one more image's values too."""
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))
        crosses = self.low <= 0 <= self.high
        self.least = min(self.least, float(np.abs(found).min()) if crosses else min(abs(self.low), abs(self.high)))

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))


def ranges(model: Any, tensors: Sequence[str], feeds: Feeds, method: Method) -> tuple[Ranges, int]:
    """(low, high) of each tensor, and over how many images.

    Raises:
        InputError: no images, or one that the model does not take.
    """
    extents, count = _extents(model, tensors, feeds)
    exact = {name: (extent.low, extent.high) for name, extent in extents.items()}
    if method == "minmax":
        return exact, count
    live = {name: extent for name, extent in extents.items() if extent.largest > 0}
    histograms = _histograms(model, live, feeds, method)
    return exact | _thresholds(histograms, live, method), count


def _extents(model: Any, tensors: Sequence[str], feeds: Feeds) -> tuple[dict[str, _Extent], int]:
    extents = {name: _Extent() for name in tensors}
    count = 0
    for found in values(model, tensors, feeds):
        for name, extent in extents.items():
            extent.widen(found[name])
        count += 1
        worker.emit(done=count, text=f"ranges of {count} images")
    return extents, count


@dataclass(kw_only=True)
class _Histogram:
    """Counts in bins of one width between two ends."""

    low: float
    high: float
    counts: np.ndarray
    edges: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def fill(self, found: np.ndarray) -> None:
        """Count one more image's values."""
        ends: Any = (np.float32(self.low), np.float32(self.high))  # as ONNX Runtime's own: the edges are float32
        counts, self.edges = np.histogram(found, len(self.counts), range=ends)
        self.counts += counts


def _histograms(model: Any, extents: dict[str, _Extent], feeds: Feeds, method: Method) -> dict[str, _Histogram]:
    """Percentile: of the magnitudes. Entropy: of the values, zero in the middle."""
    made = {name: _empty(extent, method) for name, extent in extents.items()}
    for count, found in enumerate(values(model, list(made), feeds), 1):
        for name, histogram in made.items():
            histogram.fill(np.abs(found[name]) if method == "percentile" else found[name])
        worker.emit(done=count, text=f"histograms of {count} images")
    return made


def _empty(extent: _Extent, method: Method) -> _Histogram:
    if method == "entropy":
        return _Histogram(low=-extent.largest, high=extent.largest, counts=np.zeros(_ENTROPY_BINS, np.int64))
    least = extent.least if extent.least < extent.largest else 0.0
    return _Histogram(low=least, high=extent.largest, counts=np.zeros(_BINS, np.int64))


def _thresholds(histograms: dict[str, _Histogram], extents: dict[str, _Extent], method: Method) -> Ranges:
    collector = HistogramCollector(method, True, _BINS, _QUANTIZED_BINS, _PERCENTILE, "same")
    for name, histogram in histograms.items():
        low, high = np.float32(extents[name].low), np.float32(extents[name].high)
        collector.histogram_dict[name] = (histogram.counts, histogram.edges.astype(np.float32), low, high)
    if not histograms:
        return {}
    with contextlib.redirect_stdout(io.StringIO()):
        found = collector.compute_collection_result()
    return {name: (float(told[0]), float(told[1])) for name, told in found.items()}
