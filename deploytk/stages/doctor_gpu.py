"""What the doctor says of the NVIDIA GPU and of TensorRT: asked in child processes, as either can crash its asker."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
    try:
        told: dict[str, Any] = _asked("deploytk.stages.doctor_gpu:seen")
    except StepFailed as error:
        return {"gpu": "unknown", "lacking": f"asking the driver {error.cause}"}
    if told["lacking"]:
        return {"gpu": "none", **told}
    return {
        "gpu": told["name"],
        "driver": told["driver"] or "unknown",
        "compute capability": told["compute_capability"],
        "memory": f"{told['memory_bytes'] / 2**30:.1f} GiB",
        "lacking": "",
    }


def shown(device: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `gpu_row` as people read it."""
    if device["lacking"]:
        return {"gpu": f"{device['gpu']}: {device['lacking']}"}
    return {key: value for key, value in device.items() if key != "lacking"}


def seen() -> dict[str, Any]:
    """What the driver says; run in a child."""
    found = gpu.found()
    return {"lacking": ""} | asdict(found) if found is not None else {"lacking": gpu.lacking()}


def tensorrt_rows(device: Mapping[str, Any], *, installed: bool) -> list[dict[str, Any]]:
    """Each TensorRT, its version and what it can do here; `installed` is whether Python would find one."""
    if not installed:
        return [_missing()]
    try:
        found: Sequence[Mapping[str, Any]] = _asked("deploytk.targets.tensorrt.support:available")
    except MissingDependency:
        return [_missing()]
    except StepFailed as error:
        return [{"library": "TensorRT", "usable": False, "here": f"cannot be used: it {error.cause}", "install": ""}]
    return [_row(library, device) for library in found]


def _asked(function: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="deploytk-doctor-") as folder:
        return worker.call(function, {}, logs=Path(folder), name=function.rpartition(":")[2], timeout_s=_TIMEOUT_S)


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
