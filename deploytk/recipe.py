"""How a model is made INT8: which nodes stay in float, which correction is applied, and in which integer types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Correction = Literal["none", "percentile", "entropy", "smooth_quant", "fast_bias"]
Scheme = Literal["auto", "u8s8", "s8s8"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to quantize a graph, the same for every target; a target says in its facts what it could not do.

    `scheme` is ONNX Runtime's alone: "auto" is u8s8, with a reduced range where the CPU has no VNNI.
    """

    float_nodes: tuple[str, ...] = ()  # names of graph nodes
    correction: Correction = "none"
    scheme: Scheme = "auto"

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON-like values."""
        return {**asdict(self), "float_nodes": list(self.float_nodes)}

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> Recipe:
        """The recipe that `as_dict` told."""
        return Recipe(**{**told, "float_nodes": tuple(told["float_nodes"])})
