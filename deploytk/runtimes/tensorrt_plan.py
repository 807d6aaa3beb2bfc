"""An engine file made into an engine: looked at first, and TensorRT's complaints put into words (torch, tensorrt)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from deploytk.errors import InputError
from deploytk.graphs.identify import engine_start
from deploytk.runtimes.tensorrt_library import WORDS, complaints, is_rtx, libraries, logger, named
from deploytk.runtimes.tensorrt_lineage import BUILD_HERE, Built, Here, built, require_runs_here
from deploytk.runtimes.tensorrt_words import TRUST, explained

#: What the plans of TensorRT-RTX begin with; those of TensorRT begin with `ftrt`.
_OF_RTX = b"vtrt"


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
        return _read(path, plan, _kind(path, plan, found), trust, None)
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


def _kind(path: Path, plan: bytes, found: Sequence[ModuleType]) -> ModuleType:
    """The library that a plan is for, told by its first bytes: TensorRT, or TensorRT-RTX.

    Raises:
        InputError: it is not installed here, where the other one is.
    """
    for_rtx = plan.startswith(_OF_RTX)
    for trt in found:
        if is_rtx(trt) == for_rtx:
            return trt
    kind = WORDS["tensorrt_rtx" if for_rtx else "tensorrt"]
    raise InputError(f"{path}: an engine of {kind}; this machine has {named(found[0])}; {BUILD_HERE}")


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
