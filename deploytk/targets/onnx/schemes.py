"""The integer types of a quantized graph, and whether this CPU sums INT8 products without saturating."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_SUMMING = ("avx512_vnni", "avx_vnni", "amx_int8")


@dataclass(frozen=True, kw_only=True)
class Types:
    """Activations are u8 with a zero point, or s8 around zero; weights are s8 around zero, one scale per channel."""

    name: str  # "u8s8" or "s8s8"
    reduce_range: bool  # weights of 7 bits
    #: ONNX Runtime sums INT32 biases and rounds what comes out; without, only what an operator reads is rounded.
    integer_bias: bool = True

    @property
    def told(self) -> str:
        """As it stands in the facts: "u8s8, weights of 7 bits"."""
        return f"{self.name}, weights of {7 if self.reduce_range else 8} bits"


def types(scheme: str) -> Types:
    """The types for a recipe's scheme as they suit this CPU; "auto" is u8s8.

    Without VNNI x86 adds two products in 16 bits. They saturate, which weights of 7 bits rule out: with 8 a detector's
    mAP50 fell from 0.83 to 0.50, and in s8s8, which ONNX Runtime turns into u8s8 there, to 0.06 (docs/int8.md).
    """
    return Types(name="u8s8" if scheme == "auto" else scheme, reduce_range=_is_x86() and not sums_exactly())


def sums_exactly(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the CPU has VNNI or AMX; False where the system does not tell."""
    try:
        told = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return False
    flags = {flag for line in told.splitlines() if line.startswith("flags") for flag in line.split()}
    return not flags.isdisjoint(_SUMMING)


def _is_x86() -> bool:
    return platform.machine().lower() in {"x86_64", "amd64", "i386", "i686"}
