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

    @property
    def told(self) -> str:
        """As it stands in the facts: "u8s8, weights of 7 bits"."""
        return f"{self.name}, weights of {7 if self.reduce_range else 8} bits"


def types(scheme: str) -> Types:
    """The types for a recipe's scheme; "auto" suits this CPU.

    Without VNNI x86 adds two products in 16 bits that saturate, which weights of 7 bits rule out; and ONNX Runtime has
    no fast kernel for s8 activations there, though they are its default (bench/LOG.md).
    """
    if scheme == "auto":
        return Types(name="u8s8", reduce_range=_is_x86() and not sums_exactly())
    return Types(name=scheme, reduce_range=False)


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
