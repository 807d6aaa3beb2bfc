"""PyTorch on an NVIDIA GPU, operator by operator: as `torch`, each call finished before it returns."""

from __future__ import annotations

from pathlib import Path

from deploytk.runtimes import Options, cuda, require_known
from deploytk.runtimes import torch as runtime
from deploytk.runtimes.torch_gpu import PRECISION, CudaSession, precise

NEEDS_GPU = True
FORMATS = runtime.FORMATS
DISTRIBUTIONS = runtime.DISTRIBUTIONS
OPTIONS = {**runtime.OPTIONS, "graph": cuda.GRAPH, "precision": PRECISION}
_NAME = "torch-cuda"


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> CudaSession:  # noqa: B006
    """The program on the GPU; a call includes the copies to the GPU and back. Errors as for `torch`.

    Raises:
        MissingDependency: no GPU, or a PyTorch that was built without CUDA.
        InputError: it cannot be captured as a CUDA graph, and the option graph is on.
    """
    require_known(_NAME, options, OPTIONS)
    graph = cuda.wants_graph(_NAME, options)
    cuda.require_cuda(_NAME)
    runtime.set_threads(threads)
    shape = {name: value for name, value in options.items() if name in runtime.OPTIONS}
    whole = precise(_NAME, runtime.load(path, shape, cuda.DEVICE), options)
    loaded = whole.at_one(batch) if graph else whole.at(batch)
    if not loaded.proved and batch not in (None, 1):
        runtime.prove_script(CudaSession(loaded, {}), loaded, int(batch or 1))
    return CudaSession(loaded, {"compiled": False}, graph=graph)
