"""PyTorch with torch.compile on the CPU: as `torch`, the whole program compiled by Inductor before the first call."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch as library
from torch._dynamo.utils import counters

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import Options, chosen, require_known
from deploytk.runtimes import torch as runtime
from deploytk.runtimes.rebatching import first_line, random_feed

FORMATS = ("torch-program",)
DISTRIBUTIONS = ("torch",)
OPTIONS = {"mode": "default, or max-autotune, which tries several kernels and takes long to compile"}
_MODES = {"default": "default", "max-autotune": "max-autotune"}
_COMPILERS = ("c++", "g++", "clang++", "cl")


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> runtime.TorchSession:  # noqa: B006
    """The program compiled for `batch` items (None: its own size, or one); compiling is part of opening it.

    Raises:
        MissingDependency: there is no C++ compiler.
        InputError, FixedBatch: as for `torch`; the program cannot be compiled as one graph.
    """
    require_known("torch-compile", options, OPTIONS)
    mode = chosen("torch-compile", options, "mode", _MODES, "default")
    if not any(shutil.which(name) for name in _COMPILERS):
        raise MissingDependency("torch.compile needs a C++ compiler, and none is on the PATH; install g++ or clang++")
    runtime.set_threads(threads)
    loaded = runtime.load(path)
    free = loaded.inputs[0].shape[:1] != () and isinstance(loaded.inputs[0].shape[0], str)
    loaded = loaded.at(max(1, loaded.batches[0]) if batch is None and free else batch)
    before = counters["stats"]["unique_graphs"]
    compiled = replace(loaded, module=library.compile(loaded.module, fullgraph=True, dynamic=False, mode=mode))
    session = runtime.TorchSession(compiled, "cpu", {"compiled": True, "mode": mode})
    size = int(loaded.inputs[0].shape[0])
    try:
        session.run(random_feed(loaded.inputs, size))
    except Exception as error:  # what Dynamo and Inductor raise has no common base
        raise InputError(f"{path}: torch.compile cannot compile it: {first_line(error)}") from error
    if counters["stats"]["unique_graphs"] == before:
        raise InputError(f"{path}: torch.compile compiled nothing of it (is TORCHDYNAMO_DISABLE set?)")
    return session
