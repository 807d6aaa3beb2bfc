"""ONNX Runtime on an NVIDIA GPU: as `onnx`, with the CUDA provider."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from deploytk.errors import MissingDependency
from deploytk.runtimes import Options, onnx
from deploytk.runtimes.gpu import require_gpu

FORMATS = ("onnx",)
DISTRIBUTIONS = ("onnxruntime-gpu", "onnx")
OPTIONS = onnx.OPTIONS
PROVIDER = "CUDAExecutionProvider"


def open_session(path: Path, *, batch: int | None, threads: int | None, options: Options = {}) -> onnx.OnnxSession:  # noqa: B006
    """The model on the GPU; a call includes the copies to the GPU and back. Errors as for `onnx`.

    Raises:
        MissingDependency: no GPU, or an ONNX Runtime that was built without CUDA.
    """
    require_gpu("onnx-cuda")
    if PROVIDER not in ort.get_available_providers():
        raise MissingDependency(
            "the ONNX Runtime that is installed has no CUDA provider. "
            "Install the other one with: pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        )
    wanted = onnx.Wanted(path=path, runtime="onnx-cuda", provider=PROVIDER, threads=threads, options=options)
    return onnx.opened(wanted, batch)
