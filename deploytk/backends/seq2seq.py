"""Text models with an encoder that reads and a decoder that writes: BART (KoBART), T5 and their like."""

from __future__ import annotations

from deploytk.backends.text import DISTRIBUTIONS, METRIC, METRICS, PRIMARY, TASK, TECHNIQUES, function

__all__ = ["DISTRIBUTIONS", "METRIC", "METRICS", "PRIMARY", "TASK", "TECHNIQUES"]

__getattr__ = function
