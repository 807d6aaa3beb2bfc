"""PyTorch on an NVIDIA GPU, operator by operator: as `torch`, each call finished before it returns."""

from __future__ import annotations

from pathlib import Path

import torch as library

from deploytk.errors import MissingDependency
from deploytk.runtimes import Options, require_known
from deploytk.runtimes import torch as runtime
from deploytk.runtimes.gpu import require_gpu

FORMATS = runtime.FORMATS
DISTRIBUTIONS = runtime.DISTRIBUTIONS
OPTIONS = runtime.OPTIONS


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> runtime.TorchSession:  # noqa: B006
    """The program on the GPU; a call includes the copies to the GPU and back. Errors as for `torch`.

    Raises:
        MissingDependency: no GPU, or a PyTorch that was built without CUDA.
    """
    require_gpu("torch-cuda")
    if not library.cuda.is_available():
        raise MissingDependency("the PyTorch that is installed cannot use this GPU; install a build of it for CUDA")
    require_known("torch-cuda", options, OPTIONS)
    runtime.set_threads(threads)
    loaded = runtime.load(path, options, "cuda").at(batch)
    session = runtime.TorchSession(loaded, "cuda", {"compiled": False, "device": library.cuda.get_device_name()})
    if library.backends.cudnn.allow_tf32 and "float32" in loaded.precision:
        session.details["precision"] += ", convolutions in TF32"
    if not loaded.proved and batch not in (None, 1):
        runtime.prove_script(session, loaded, int(batch or 1))
    return session
