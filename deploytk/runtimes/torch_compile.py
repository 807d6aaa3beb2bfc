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
    require_compiler()
    runtime.set_threads(threads)
    loaded = runtime.load(path).at_one(batch)
    session = runtime.TorchSession(compiled(loaded, mode), "cpu", {"compiled": True, "mode": mode})
    compile_now(session, loaded)
    return session


def require_compiler() -> None:
    """Nothing, where there is a C++ compiler, which Inductor calls."""
    if not any(shutil.which(name) for name in _COMPILERS):
        raise MissingDependency("torch.compile needs a C++ compiler, and none is on the PATH; install g++ or clang++")


def compiled(loaded: runtime.Loaded, mode: str) -> runtime.Loaded:
    """The same, its module compiled as one graph for the shapes of its first call; that happens in this call."""
    return replace(loaded, module=library.compile(loaded.module, fullgraph=True, dynamic=False, mode=mode))


def compile_now(session: runtime.TorchSession, loaded: runtime.Loaded, *, calls: int = 1) -> None:
    """Nothing, after the first calls, in which everything is compiled.

    Raises:
        InputError: it cannot be, or nothing was.
    """
    before = counters["stats"]["unique_graphs"]
    feed = random_feed(loaded.inputs, int(loaded.inputs[0].shape[0]))
    try:
        for _ in range(calls):
            session.run(feed)
    except library.OutOfMemoryError:
        raise
    except Exception as error:  # what Dynamo and Inductor raise has no common base
        raise InputError(f"{loaded.path}: torch.compile cannot compile it: {first_line(error)}") from error
    if counters["stats"]["unique_graphs"] == before:
        raise InputError(f"{loaded.path}: torch.compile compiled nothing of it (is TORCHDYNAMO_DISABLE set?)")
