"""What this process and this machine have used so far, as Linux tells it: time, waiting, memory, energy.

Every number is None where the system does not tell. Times are in ms, memory in MB (10^6 bytes), energy in J.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")
_RAPL = Path("/sys/class/powercap")
_TICK_MS = 1000.0 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)


def cores() -> int:
    """How many cores this process may use: a container or taskset can allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Counters at one moment; the difference of two says what happened between them."""

    cpu_ms: float  # CPU time of this process, all threads
    waited_ms: float | None  # how long its threads were ready and had no core (schedstat)
    busy_ms: float | None  # CPU time of everything on the machine
    stolen_ms: float | None  # what a hypervisor gave to other guests
    energy_j: float | None

    def since(self, before: Usage) -> Usage:
        """What was used between `before` and this."""
        return Usage(
            cpu_ms=self.cpu_ms - before.cpu_ms,
            waited_ms=_less(self.waited_ms, before.waited_ms),
            busy_ms=_less(self.busy_ms, before.busy_ms),
            stolen_ms=_less(self.stolen_ms, before.stolen_ms),
            energy_j=_less(self.energy_j, before.energy_j),
        )


def used() -> Usage:
    """The counters now. Reading them takes some ten microseconds: never inside the clock."""
    busy, stolen = _machine_ms()
    energy = energy_meter()
    return Usage(
        cpu_ms=time.process_time_ns() / 1e6,
        waited_ms=_waited_ms(),
        busy_ms=busy,
        stolen_ms=stolen,
        energy_j=energy() if energy else None,
    )


def rss_mb() -> float | None:
    """Resident memory of this process."""
    return _status_mb("VmRSS:")


def peak_rss_mb() -> float | None:
    """The largest resident memory of this process so far."""
    return _status_mb("VmHWM:")


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else max(0.0, now - before)


def _status_mb(row: str) -> float | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((text for text in status.splitlines() if text.startswith(row)), None)
    return int(line.split()[1]) * 1024 / 1e6 if line else None


def _waited_ms() -> float | None:
    """The run delay of all threads: the second field of schedstat, in ns."""
    waited = 0
    try:
        for thread in os.listdir(_TASKS):  # noqa: PTH208 - half the cost of iterdir
            try:
                waited += int((_TASKS / thread / "schedstat").read_bytes().split()[1])
            except FileNotFoundError:
                continue  # it ended meanwhile
    except (OSError, IndexError, ValueError):
        return None
    return waited / 1e6


def _machine_ms() -> tuple[float | None, float | None]:
    """(busy without stolen, stolen) of all cores: user nice system idle iowait irq softirq steal of /proc/stat."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as stream:
            ticks = [int(field) for field in stream.readline().split()[1:9]]
        user, nice, system, _idle, _waiting, irq, softirq, stolen = ticks
    except (OSError, ValueError):
        return None, None
    return (user + nice + system + irq + softirq) * _TICK_MS, stolen * _TICK_MS


@functools.cache
def energy_meter() -> Callable[[], float | None] | None:
    """What reads the energy used so far (J): the processor packages (RAPL), the first NVIDIA GPU, or both."""
    meters = [meter for meter in (_rapl(), _nvml()) if meter]
    if not meters:
        return None

    def read() -> float | None:
        parts = [meter() for meter in meters]
        return None if None in parts else sum(part for part in parts if part is not None)

    return read


def _rapl() -> Callable[[], float | None] | None:
    counters = [p / "energy_uj" for p in sorted(_RAPL.glob("intel-rapl:*")) if p.name.count(":") == 1]
    readable = [p for p in counters if os.access(p, os.R_OK)]  # root only, on most machines
    if not readable:
        return None

    def read() -> float | None:
        try:
            return sum(int(p.read_text(encoding="ascii")) for p in readable) / 1e6
        except (OSError, ValueError):
            return None

    return read


def _nvml() -> Callable[[], float | None] | None:
    """The GPU's own counter, through NVIDIA's management library (nvmlDeviceGetTotalEnergyConsumption, in mJ)."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        device = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
            return None
    except (OSError, AttributeError):
        return None

    def read() -> float | None:
        spent = ctypes.c_ulonglong()
        return None if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(spent)) else spent.value / 1000

    return read if read() is not None else None
