"""What the doctor says of the NVIDIA GPU, and of TensorRT, which is asked in a child process as it can crash."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.errors import MissingDependency, StepFailed
from deploytk.runtimes import gpu
from deploytk.runtimes.tensorrt_library import WORDS

_TIMEOUT_S = 60.0
_INSTALL = "pip install 'deploytk[tensorrt]'"


def gpu_row() -> dict[str, Any]:
    """The first GPU with driver, compute capability and memory; where there is none, why (`lacking`)."""
    found = gpu.found()
    if found is None:
        return {"gpu": "none", "lacking": gpu.lacking()}
    return {
        "gpu": found.name,
        "driver": found.driver or "unknown",
        "compute capability": found.compute_capability,
        "memory": f"{found.memory_bytes / 2**30:.1f} GiB",
        "lacking": "",
    }


def shown(device: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `gpu_row` as people read it."""
    if device["lacking"]:
        return {"gpu": f"{device['gpu']}: {device['lacking']}"}
    return {key: value for key, value in device.items() if key != "lacking"}


def tensorrt_rows(device: Mapping[str, Any], *, installed: bool) -> list[dict[str, Any]]:
    """Each TensorRT, its version and what it can do here; `installed` is whether Python would find one."""
    if not installed:
        return [_missing()]
    try:
        found = _asked()
    except MissingDependency:
        return [_missing()]
    except StepFailed as error:
        return [{"library": "TensorRT", "usable": False, "here": f"cannot be used: it {error.cause}", "install": ""}]
    return [_row(library, device) for library in found]


def _asked() -> Sequence[Mapping[str, Any]]:
    """What `targets.tensorrt.support.available` gives."""
    with tempfile.TemporaryDirectory(prefix="deploytk-doctor-") as folder:
        told: list[dict[str, Any]] = worker.call(
            "deploytk.targets.tensorrt.support:available", {}, logs=Path(folder), name="tensorrt", timeout_s=_TIMEOUT_S
        )
    return told


def _missing() -> dict[str, Any]:
    return {"library": " or ".join(WORDS.values()), "usable": False, "here": "not installed", "install": _INSTALL}


def _row(library: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, Any]:
    usable, here = not library["problem"], _here(library, device)
    return {"library": library["library"], "usable": usable, "here": here, "install": ""}


def _here(library: Mapping[str, Any], device: Mapping[str, Any]) -> str:
    if library["problem"]:
        why = device["lacking"] or library["problem"]
        return f"cannot be used: it reads and builds no model without a GPU that it can use ({why})"
    if device["lacking"]:
        return f"reads models and builds engines, cannot run them: {device['lacking']}"
    capability = device["compute capability"]
    if library["capabilities"] and not _has(library["capabilities"], capability):
        return f"reads models; its engines are for other GPUs than compute capability {capability}"
    return f"reads models, builds engines and runs them on {device['gpu']}"


def _has(capabilities: Sequence[str], wanted: str) -> bool:
    """Whether a list of compute capabilities has this one; what is newer than all of them counts as had."""
    number = [int(part) for part in wanted.split(".")]
    return wanted in capabilities or number > max([int(part) for part in one.split(".")] for one in capabilities)
