"""PyTorch with torch.compile on an NVIDIA GPU: as `torch-cuda`, compiled by Inductor before the first call."""

from __future__ import annotations

from importlib import util
from pathlib import Path

from torch._dynamo.utils import counters

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import Options, chosen, cuda, require_known, torch_compile
from deploytk.runtimes import torch as runtime
from deploytk.runtimes.torch_gpu import PRECISION, CudaSession, precise

NEEDS_GPU = True
FORMATS = torch_compile.FORMATS
DISTRIBUTIONS = ("torch", "triton")
OPTIONS = {
    "mode": "default, reduce-overhead (CUDA graphs) or max-autotune (those, and several kernels are tried)",
    "precision": PRECISION,
}
_NAME = "torch-compile-cuda"
_MODES = {name: name for name in ("default", "reduce-overhead", "max-autotune")}
#: With CUDA graphs the first call compiles, the second captures and the third replays.
_CALLS = 3


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> CudaSession:  # noqa: B006
    """The program compiled for `batch` items (None: its own size, or one); compiling is part of opening it.

    Raises:
        MissingDependency: no GPU, no Triton, no C++ compiler, or a PyTorch that was built without CUDA.
        InputError, FixedBatch: as for `torch`; it cannot be compiled as one graph, or Inductor made no CUDA graph.
    """
    require_known(_NAME, options, OPTIONS)
    mode = chosen(_NAME, options, "mode", _MODES, "default")
    cuda.require_cuda(_NAME)
    if util.find_spec("triton") is None:
        raise MissingDependency("torch.compile on a GPU needs Triton. Install it with: pip install triton")
    torch_compile.require_compiler()
    runtime.set_threads(threads)
    loaded = precise(_NAME, runtime.load(path, {}, cuda.DEVICE), options).at_one(batch)
    skipped = counters["inductor"]["cudagraph_skips"]
    session = CudaSession(torch_compile.compiled(loaded, mode), {"compiled": True, "mode": mode})
    torch_compile.compile_now(session, loaded, calls=_CALLS)
    if mode != "default" and counters["inductor"]["cudagraph_skips"] > skipped:
        raise InputError(f"{path}: Inductor made no CUDA graph of it; leave mode={mode} out")
    session.details["graph"] = "off" if mode == "default" else "on"
    return session
