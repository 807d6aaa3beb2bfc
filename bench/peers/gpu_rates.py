"""What a GPU reaches with PyTorch: the rate of a large matmul in a precision, and the bandwidth of a large copy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from roofline import Roof

#: Large enough that a GPU is full, small enough for 16 GiB.
_SIDE, _BYTES = 8192, 2**30
_ROUNDS, _CALLS = 5, 10


def roof(precision: str) -> Roof:
    """The roof for "fp16", or for "fp32", whose convolutions all runtimes compute in TF32 unless told otherwise."""
    return Roof(flops_per_s=matmul_rate(precision), bytes_per_s=bandwidth())


def matmul_rate(precision: str) -> float:
    """FLOPs per second of the product of two square matrices; the fastest of several rounds."""
    dtype = {"fp16": torch.float16, "fp32": torch.float32}[precision]
    a, b = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=dtype) for _ in range(2))
    out, before = torch.empty_like(a), torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return 2.0 * _SIDE**3 / seconds(lambda: torch.mm(a, b, out=out))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def bandwidth() -> float:
    """Bytes read and written per second by a copy inside the GPU; the fastest of several rounds."""
    source = torch.zeros(_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2.0 * _BYTES / seconds(lambda: target.copy_(source))


def give_back() -> None:
    """Leave the GPU's memory to the processes that come."""
    torch.cuda.empty_cache()


def seconds(work: Callable[[], object]) -> float:
    """What one piece of work takes the GPU, by its own clock: the least of several rounds of several calls."""
    work()
    torch.cuda.synchronize()
    took = []
    for _ in range(_ROUNDS):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        for _ in range(_CALLS):
            work()
        ended.record()
        torch.cuda.synchronize()
        took.append(began.elapsed_time(ended) / 1e3 / _CALLS)
    return min(took)
