"""An engine file made into an engine: looked at first, and TensorRT's complaints put into words (torch, tensorrt)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from deploytk.errors import InputError
from deploytk.graphs.identify import engine_start
from deploytk.runtimes.tensorrt_library import complaints, libraries, logger
from deploytk.runtimes.tensorrt_lineage import Built, Here, built, require_runs_here
from deploytk.runtimes.tensorrt_words import TRUST, explained


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An engine, and what must outlive it: let go of in the order in which they stand here."""

    engine: Any
    runtime: Any
    logger: Any
    trt: ModuleType
    path: Path
    built: Built | None = None


def loaded(path: Path, *, trust: bool) -> Loaded:
    """The engine at `path`. An engine of deploytk's own is compared with this machine before TensorRT sees it.

    Args:
        trust: whether an engine with host code may be loaded, which runs that code.

    Raises:
        MissingDependency: no TensorRT.
        InputError: not an engine; built by another version or for another GPU; with host code, and no `trust`.
    """
    plan, known = _plan(path), built(path)
    found = list(libraries())
    if known is None:
        return _first_that_reads(path, plan, found, trust)
    trt = next((one for one in found if one.__name__ == known.library), found[0])
    here = Here(library=trt.__name__, version=trt.__version__, compute_capability=_capability())
    require_runs_here(path, known, here)
    if known.host_code and not trust:
        raise InputError(f"{path}: {TRUST}")
    return _read(path, plan, trt, trust, known)


def _plan(path: Path) -> bytes:
    """The plan in the file, without the header that Ultralytics writes."""
    content = path.read_bytes()
    start = engine_start(content)
    if start < 0:
        raise InputError(f"{path}: no TensorRT engine")
    return content[start:]


def _first_that_reads(path: Path, plan: bytes, found: list[ModuleType], trust: bool) -> Loaded:
    """The engine of somebody else's: each TensorRT is asked, and the first one's complaint is told."""
    failures = []
    for trt in found:
        try:
            return _read(path, plan, trt, trust, None)
        except InputError as error:
            failures.append(error)
    raise failures[0]


def _read(path: Path, plan: bytes, trt: ModuleType, trust: bool, known: Built | None) -> Loaded:
    complaints()
    says = logger(trt)
    runtime = trt.Runtime(says)
    if trust:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise InputError(f"{path}: {explained(complaints())}")
    return Loaded(engine=engine, runtime=runtime, logger=says, trt=trt, path=path, built=known)


def _capability() -> str:
    """`9.0`, the compute capability of the GPU that this process uses."""
    major, minor = torch.cuda.get_device_capability()
    return f"{major}.{minor}"
