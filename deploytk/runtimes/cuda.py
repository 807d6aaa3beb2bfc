"""What the runtimes that hold GPU memory by PyTorch share: the device, its own clock, captured graphs (torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import Options, chosen
from deploytk.runtimes.gpu import require_gpu

T = TypeVar("T")
DEVICE = "cuda"
GRAPH = "off (default), or on: the work is captured once as a CUDA graph, and each call replays it"


def require_cuda(runtime: str) -> None:
    """Nothing, where this machine has a GPU and PyTorch can use it.

    Raises:
        MissingDependency: it has none, or a PyTorch that was built without CUDA.
    """
    require_gpu(runtime)
    if not torch.cuda.is_available():
        raise MissingDependency("the PyTorch that is installed cannot use this GPU; install a build of it for CUDA")


def wants_graph(runtime: str, options: Options) -> bool:
    """Whether the option `graph` is on."""
    return chosen(runtime, options, "graph", {"off": False, "on": True}, "off")


class Clock:
    """The time the GPU took for what it was last given, by two events on its stream."""

    def __init__(self) -> None:
        self._began, self._ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._used = False

    @contextmanager
    def around(self, stream: Any) -> Iterator[None]:
        """Time the work that the block gives to the stream."""
        self._began.record(stream)
        yield
        self._ended.record(stream)
        self._used = True

    @property
    def last_ms(self) -> dict[str, float]:
        """`{"device": ms}` of the last work, which must be finished; empty before the first."""
        return {"device": float(self._began.elapsed_time(self._ended))} if self._used else {}


def captured(path: Path, work: Callable[[], T], stream: Any, *, warm: int = 1) -> tuple[Any, T]:
    """(a CUDA graph that repeats `work`, what `work` gave: the memory that each replay fills again).

    Args:
        path: of the model, for the message.
        warm: how often the work is done before: libraries allocate and choose kernels in their first run, which
            cannot be captured.

    Raises:
        InputError: the work cannot be captured (it waits for the GPU, or its memory is not fixed).
    """
    with torch.cuda.stream(stream):
        for _ in range(warm):
            work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            made = work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be captured as a CUDA graph ({why}); leave the option graph out") from error
    return graph, made


def on_device(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Memory of the GPU, all zeros: what is tried on it before the first inputs come must not be led astray by them."""
    return torch.zeros(shape, dtype=getattr(torch, dtype), device=DEVICE)


def on_host(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Memory of the CPU that the GPU reads and writes by itself (pinned), its values as they are."""
    return torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=DEVICE == "cuda")
