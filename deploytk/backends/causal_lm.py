"""Text models of a decoder that goes on with its prompt: Llama, Qwen3, SOLAR, Polyglot-Ko and their like."""

from __future__ import annotations

from deploytk.backends.text import DISTRIBUTIONS, METRIC, METRICS, PRIMARY, TASK, TECHNIQUES, function

__all__ = ["DISTRIBUTIONS", "METRIC", "METRICS", "PRIMARY", "TASK", "TECHNIQUES"]

__getattr__ = function
