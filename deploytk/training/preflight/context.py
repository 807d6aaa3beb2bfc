"""What the rules of the preflight look at: the profile, the machine, the libraries and the data, gathered once."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk import usage
from deploytk.profile import Profile
from deploytk.training import deaths

#: Looking at so many files takes a fraction of a second.
_MOST_FILES = 20_000
#: Libraries of whose versions something is known.
_LIBRARIES = ("torch", "numpy", "transformers", "datasets", "ultralytics", "timm")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as NVIDIA's driver tells it. `processes` are those of others: (pid, name, MiB)."""

    index: int
    name: str
    total_mib: float
    free_mib: float
    capability: tuple[int, int]
    processes: tuple[tuple[int, str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything that a rule may ask for."""

    profile: Profile
    techniques: frozenset[str]
    metrics: frozenset[str]  # names that milestones and phase rules may use; empty where the backend does not say
    versions: Mapping[str, str] = field(default_factory=dict)
    cores: int = 1
    memory_mib: float | None = None  # that this process may still use
    disk_free: float | None = None  # bytes, where the run folder is or will be
    shm_free: float | None = None  # bytes in /dev/shm
    gpus: tuple[Gpu, ...] = ()
    data_bytes: int = 0  # at least
    checkpoint_bytes: int | None = None  # of one epoch, estimated
    step_mib: Callable[[int], float | None] = lambda _batch: None  # of a training step with that batch, estimated

    @staticmethod
    def of(profile: Profile, run: Path, backend: ModuleType) -> Context:
        """The facts of this machine and of the profile's data; what cannot be known is left out."""
        return Context(
            profile=profile,
            techniques=frozenset(getattr(backend, "TECHNIQUES", ())),
            metrics=frozenset(getattr(backend, "METRICS", ())),
            versions=_versions(),
            cores=usage.cores(),
            memory_mib=_memory_mib(),
            disk_free=float(deaths.free_bytes(run)),
            shm_free=float(shutil.disk_usage("/dev/shm").free) if Path("/dev/shm").is_dir() else None,
            gpus=gpus(),
            data_bytes=_data_bytes(profile.data.path),
            checkpoint_bytes=_estimated(backend, "checkpoint_bytes", profile),
            step_mib=lambda batch: _estimated(backend, "step_mib", profile, batch),
        )

    @property
    def device_free_mib(self) -> float | None:
        """What is free where the training would run."""
        return self.gpu.free_mib if self.gpu else self.memory_mib

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that the training would use."""
        device = self.profile.train.devices[0].removeprefix("cuda:")
        wanted = 0 if device == "auto" else int(device) if device.isdecimal() else None
        return next((g for g in self.gpus if g.index == wanted), None)


def gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine; none where NVIDIA's driver or its library is not there."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, a driver of another version: all mean that nothing can be told
        return ()
    try:
        return tuple(_gpu(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    others = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        name=str(nvml.nvmlDeviceGetName(handle)),
        total_mib=memory.total / 2**20,
        free_mib=memory.free / 2**20,
        capability=(int(major), int(minor)),
        processes=tuple((p.pid, _process_name(p.pid), (p.usedGpuMemory or 0) / 2**20) for p in others),
    )


def _process_name(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return "a process of another container"


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _memory_mib() -> float:
    """What may still be used: of the machine, and of this process's group."""
    import psutil

    free = psutil.virtual_memory().available / 2**20
    limit, used = deaths.Memory().of_group()
    return min(free, (limit - used) / 2**20) if limit else free


def _data_bytes(path: Path | None) -> int:
    """The size of the data, of its first files where it has more than can be looked at in a moment."""
    if path is None or not path.exists():
        return 0
    files = (p for p in (path if path.is_dir() else path.parent).rglob("*") if p.is_file())
    return sum(p.stat().st_size for p in itertools.islice(files, _MOST_FILES))


def _estimated(backend: ModuleType, name: str, *args: Any) -> Any:
    """What the backend estimates, None where it does not."""
    estimate = getattr(backend, name, None)
    return None if estimate is None else estimate(*args)
