"""A GPU for tests, on the memory of the CPU: streams, events and captured graphs that keep a record of their use.

As on a real one, nothing is computed while a graph is captured: its outputs are filled by each replay.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from deploytk.runtimes import cuda, gpu

STREAM = 7


class FakeCuda:
    """What was asked of the GPU, in order, and the graph that is being captured."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.capturing: Graph | None = None

    @contextlib.contextmanager
    def graph(self, graph: Graph, stream: Any) -> Iterator[None]:
        """Keep what the block computes in the graph."""
        assert stream.cuda_stream == STREAM
        self.said.append("capture")
        self.capturing = graph
        try:
            with Keeping(graph):
                yield
        finally:
            self.capturing = None


class Graph:
    """Work that can be done again."""

    def __init__(self, fake: FakeCuda) -> None:
        self.fake = fake
        self.work: list[Callable[[], None]] = []

    def replay(self) -> None:
        """Do it, into the same memory."""
        self.fake.said.append("replay")
        for step in self.work:
            step()


class Keeping(TorchDispatchMode):
    """Keeps each operator of PyTorch, to be computed again into the memory of its first result."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.graph.work.append(lambda: made.copy_(func(*args, **(kwargs or {}))))
        return made


class Event:
    """Two of them are always 1.5 ms apart."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.recorded = False

    def record(self, stream: Any) -> None:
        """Be put on the private stream."""
        assert stream.cuda_stream == STREAM
        self.recorded = True

    def elapsed_time(self, other: Event) -> float:
        """The time between two that were recorded."""
        assert self.recorded and other.recorded
        return 1.5


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Put the fake in the place of PyTorch's GPU, until the test ends."""
    fake = FakeCuda()
    stream = types.SimpleNamespace(cuda_stream=STREAM, synchronize=lambda: None)
    monkeypatch.setattr(cuda, "DEVICE", "cpu")
    monkeypatch.setattr(cuda, "require_gpu", lambda _name: None)
    monkeypatch.setattr(gpu, "require_gpu", lambda _name: None)
    parts = {
        "is_available": lambda: True,
        "Stream": lambda: stream,
        "stream": lambda _stream: contextlib.nullcontext(),
        "synchronize": lambda: None,
        "Event": Event,
        "CUDAGraph": lambda: Graph(fake),
        "graph": fake.graph,
        "get_device_name": lambda: "a fake",
        "get_device_capability": lambda: (9, 0),
    }
    for name, part in parts.items():
        monkeypatch.setattr(torch.cuda, name, part)
    return fake
