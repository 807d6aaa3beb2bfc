"""Whether this machine has an NVIDIA GPU: asked of the driver itself, as libraries without one fall back or crash."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from deploytk.errors import MissingDependency

_WINDOWS = sys.platform == "win32"
_DRIVER = "nvcuda.dll" if _WINDOWS else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if _WINDOWS else "libnvidia-ml.so.1"
#: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first GPU that this process sees."""

    name: str  # "NVIDIA H100 80GB HBM3"
    compute_capability: str  # "9.0"
    memory_bytes: int
    driver: str  # "570.86.15"; empty where NVML does not say


def require_gpu(runtime: str) -> None:
    """Nothing, where the driver answers and shows a GPU to this process.

    Raises:
        MissingDependency: there is no driver, or no GPU that CUDA_VISIBLE_DEVICES leaves visible.
    """
    missing = lacking()
    if missing:
        raise MissingDependency(f"the runtime {runtime} needs an NVIDIA GPU, and {missing}")


def lacking() -> str:
    """Why there is no GPU here: `there is no NVIDIA driver on this machine`; the empty string where there is one."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return "there is no NVIDIA driver on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the driver shows none to this process"
    return ""


def found() -> Gpu | None:
    """The first GPU; None where there is none."""
    if lacking():
        return None
    driver = ctypes.CDLL(_DRIVER)
    device, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int(0)
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Gpu(
        name=name.value.decode(),
        compute_capability=".".join(numbers),
        memory_bytes=memory.value,
        driver=_driver_version(),
    )


def _driver_version() -> str:
    try:
        management = ctypes.CDLL(_MANAGEMENT)
    except OSError:
        return ""
    version = ctypes.create_string_buffer(80)
    told = not management.nvmlInit_v2() and not management.nvmlSystemGetDriverVersion(version, len(version))
    return version.value.decode() if told else ""
