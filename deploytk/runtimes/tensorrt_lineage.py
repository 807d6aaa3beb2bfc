"""What deploytk wrote down when it built a TensorRT engine, and whether this machine can run such a one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact, sidecar
from deploytk.errors import InputError
from deploytk.runtimes.tensorrt_library import WORDS

BUILD_HERE = "build it here: deploytk export RUN --target tensorrt"


@dataclass(frozen=True, kw_only=True)
class Built:
    """How an engine was built: `settings["engine"]` of its lineage."""

    library: str  # "tensorrt", "tensorrt_rtx"
    version: str  # "10.16.1.11"
    compute_capability: str | None = None  # "9.0"; None where it was not built for one
    gpu: str | None = None
    driver: str | None = None
    onnx_sha256: str | None = None
    host_code: bool = False  # a version-compatible plan brings a runtime of its own, which loading it would run
    precision: str = ""  # counted in the network, in words; that of the artifact where it was not
    tf32: bool = False  # whether float32 may be computed in TF32

    @property
    def computes_in(self) -> str:
        """The precision in words: `float16 (as it was built)`."""
        tf32 = ", in TF32 where that is faster" if self.tf32 and "32" in self.precision else ""
        return f"{self.precision}{tf32} (as it was built)"


@dataclass(frozen=True, kw_only=True)
class Here:
    """What runs engines on this machine."""

    library: str
    version: str
    compute_capability: str


def built(path: Path) -> Built | None:
    """How deploytk built the engine at `path`; None for an engine of somebody else's.

    Raises:
        InputError: the lineage beside it is damaged.
    """
    beside = sidecar(path)
    if not beside.is_file():
        return None
    try:
        artifact = Artifact.from_dict({**json.loads(beside.read_text(encoding="utf-8")), "path": path})
        told = artifact.settings.get("engine")
        return None if told is None else _built(told, artifact.precision)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{beside}: damaged lineage ({error}); build the engine again") from error


def _built(told: Mapping[str, Any], precision: str) -> Built:
    if told["library"] not in WORDS:
        raise ValueError(f"no TensorRT library {told['library']!r}")
    _version(str(told["version"]))
    names = ("compute_capability", "gpu", "driver", "onnx_sha256")
    return Built(
        library=str(told["library"]),
        version=str(told["version"]),
        host_code=bool(told.get("host_code")),
        precision=str(told.get("precision") or precision),
        tf32=bool(told.get("tf32")),
        **{name: told.get(name) for name in names},
    )


def require_runs_here(path: Path, engine: Built, here: Here) -> None:
    """Nothing, where TensorRT may read the engine: it is asked only then.

    A version-compatible engine may run on another version, if none of an older major: TensorRT decides that itself.

    Raises:
        InputError: another library, version or compute capability than this machine's; both are told.
    """
    same = _version(engine.version) == _version(here.version)
    compatible = engine.host_code and _version(here.version)[0] >= _version(engine.version)[0]
    capability = engine.compute_capability
    fits = capability in (None, here.compute_capability)
    if engine.library == here.library and (same or compatible) and fits:
        return
    for_ = f" for compute capability {capability}" if capability else ""
    and_ = f" and {here.compute_capability}" if capability else ""
    raise InputError(
        f"{path}: built by {_named(engine.library, engine.version)}{for_}; "
        f"this machine has {_named(here.library, here.version)}{and_}; {BUILD_HERE}"
    )


def _named(library: str, version: str) -> str:
    return f"{WORDS.get(library, library)} {'.'.join(map(str, _version(version)))}"


def _version(text: str) -> tuple[int, ...]:
    """Major, minor and patch: engines are bound to these, not to the number of the build."""
    return tuple(int(part) for part in text.split(".")[:3])
