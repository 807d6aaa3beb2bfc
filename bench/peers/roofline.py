"""How fast a GPU could be at best: the roofline of a call, from its FLOPs and bytes and what the GPU was seen to reach.

The floor is the longer of two times: all FLOPs at the rate of a large matmul, and the bytes that cannot be avoided
(weights, inputs and outputs, each once) at the bandwidth of a large copy. Values between the layers are left out: a
kernel may keep them. So no call is faster, and most cannot be as fast.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Roof:
    """What the GPU reaches, measured: FLOPs and bytes per second."""

    flops_per_s: float
    bytes_per_s: float

    @property
    def ridge(self) -> float:
        """FLOPs per byte beyond which the FLOPs take longer than the bytes."""
        return self.flops_per_s / self.bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model takes: FLOPs of one item (a multiply-add is two), values of its weights and of one item's ends."""

    flops_per_item: float
    weights: int
    ends_per_item: int  # values of the inputs and outputs

    def work(self, batch: int, bytes_per_value: int) -> Work:
        """What one call for `batch` items takes."""
        values = self.weights + batch * self.ends_per_item
        return Work(flops=batch * self.flops_per_item, bytes=values * bytes_per_value)


@dataclass(frozen=True, kw_only=True)
class Work:
    """FLOPs and bytes of one call."""

    flops: float
    bytes: float

    def floor_ms(self, roof: Roof) -> float:
        """The time below which no call can be."""
        return 1e3 * max(self.flops / roof.flops_per_s, self.bytes / roof.bytes_per_s)

    def bound(self, roof: Roof) -> str:
        """What the floor is made of: "FLOPs" or "bytes"."""
        return "FLOPs" if self.flops / self.bytes >= roof.ridge else "bytes"

    def ratio(self, ms: float | None, roof: Roof) -> float | None:
        """How many times the floor a latency is; None where there is none."""
        return None if ms is None else ms / self.floor_ms(roof)
