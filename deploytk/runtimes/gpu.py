"""Whether this machine has an NVIDIA GPU: asked of the driver itself, as libraries without one fall back or crash."""

from __future__ import annotations

import ctypes
import sys

from deploytk.errors import MissingDependency

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def require_gpu(runtime: str) -> None:
    """Nothing, where the driver answers and shows a GPU to this process.

    Raises:
        MissingDependency: there is no driver, or no GPU that CUDA_VISIBLE_DEVICES leaves visible.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise MissingDependency(
            f"the runtime {runtime} needs an NVIDIA GPU, and there is no NVIDIA driver on this machine"
        ) from error
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise MissingDependency(f"the runtime {runtime} needs an NVIDIA GPU, and the driver shows none to this process")
