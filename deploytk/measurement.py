"""What was measured, sample by sample, and the machine it was measured on."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploytk import usage

Status = Literal["ok", "crash", "oom", "timeout", "fixed_batch", "bad_output", "not_run"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The computer a number was measured on."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    governor: str = ""
    gpu: str = "none"

    @staticmethod
    def this() -> Machine:
        """The machine this process runs on."""
        import psutil

        return Machine(
            cpu=_cpu_name(),
            cores=usage.cores(),
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=platform.python_version(),
            governor=_first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            gpu=_first_line("/proc/driver/nvidia/version") or "none",
        )


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One batch size of one artifact on one runtime: every sample in order, or why there is none.

    `blocks` partitions `samples_ms`: how many consecutive samples each block holds. Blocks are spread over time.
    An estimate (a compiler's) has one sample and no blocks; `kind` tells the two apart.
    """

    artifact_sha256: str
    runtime: str
    batch: int
    kind: Literal["measured", "estimated"] = "measured"
    status: Status = "ok"
    reason: str = ""
    samples_ms: tuple[float, ...] = ()
    blocks: tuple[int, ...] = ()
    warmup_ms: tuple[float, ...] = ()
    load_ms: float | None = None
    first_ms: float | None = None  # the first call after loading
    peak_rss_mb: float | None = None
    # Of each block: when its samples began (s since the bench began), CPU time of the process, time its threads waited
    # for a core, time a virtual machine's other guests took, and resident memory after it.
    block_at_s: tuple[float, ...] = ()
    block_cpu_ms: tuple[float, ...] = ()
    block_waited_ms: tuple[float, ...] = ()
    block_rss_mb: tuple[float, ...] = ()
    energy_j: float | None = None  # of all samples together, where the machine tells
    # Of each sample: its split, end to end; of the model alone on a GPU the GPU's own time, "device".
    parts_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    share_on_target: float | None = None  # of the graph's operators, 0..1
    details: Mapping[str, Any] = field(default_factory=dict)  # provider, threads, versions, notes
    log: str = ""
    command: str = ""
    machine: Machine | None = None

    def percentile_ms(self, percent: float) -> float:
        """The sample percentile in ms; NaN where there is no sample."""
        return percentile(self.samples_ms, percent)

    def judged_ms(self, percent: float) -> float:
        """The same of what was judged: of the part of a call that details name as `judged`, or of the whole call."""
        part = self.details.get("judged")
        return percentile(self.parts_ms.get(part, ()), percent) if part else self.percentile_ms(percent)

    @property
    def items_per_second(self) -> float:
        """Throughput of one closed loop: batch size over the mean latency; 0 where nothing was measured."""
        mean = sum(self.samples_ms) / len(self.samples_ms) if self.samples_ms else 0.0
        return 1000.0 * self.batch / mean if mean > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The measurement as JSON-like values, raw samples included, with the usual percentiles added."""
        told = asdict(self)
        if self.samples_ms:
            told |= {f"p{p}_ms": self.percentile_ms(p) for p in (50, 90, 95, 99)}
            told["items_per_second"] = self.items_per_second
        return told


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample with at least `percent` % of all samples at or below it (nearest rank)."""
    if not samples:
        return math.nan
    rank = max(1, math.ceil(percent / 100.0 * len(samples)))
    return sorted(samples)[rank - 1]


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return ""


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
