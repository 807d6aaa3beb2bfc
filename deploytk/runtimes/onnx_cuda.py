"""ONNX Runtime on an NVIDIA GPU: as `onnx`, with the CUDA provider."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from deploytk.errors import MissingDependency
from deploytk.runtimes import Options, onnx, require_known
from deploytk.runtimes.gpu import require_gpu

NEEDS_GPU = True
FORMATS = ("onnx",)
DISTRIBUTIONS = ("onnxruntime-gpu", "onnx")
OPTIONS = onnx.OPTIONS
PROVIDER = "CUDAExecutionProvider"


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> onnx.OnnxSession:  # noqa: B006
    """The model on the GPU; a call includes the copies to the GPU and back. Errors as for `onnx`.

    Raises:
        MissingDependency: no GPU, or an ONNX Runtime that was built without CUDA.
        InputError: parts of the model would run on the CPU.
    """
    require_known("onnx-cuda", options, OPTIONS)
    require_gpu("onnx-cuda")
    require_provider(PROVIDER, "CUDA")
    wanted = onnx.Wanted(path=path, runtime="onnx-cuda", provider=PROVIDER, threads=threads, options=options)
    return onnx.opened(wanted, batch)


def require_provider(provider: str, word: str) -> None:
    """Nothing, where the ONNX Runtime that is installed has the provider; libraries that pip brought are found then.

    Raises:
        MissingDependency: it has not.
    """
    if provider not in ort.get_available_providers():
        raise MissingDependency(
            f"the ONNX Runtime that is installed has no {word} provider. "
            "Install the other one with: pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        )
    if hasattr(ort, "preload_dlls"):
        # CUDA and cuDNN from the wheels that PyTorch uses: without this only the system's are found (since 1.21).
        ort.preload_dlls(msvc=False)
