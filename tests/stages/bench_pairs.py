"""Benches as two runs of one machine would give them, simulated: alike neighbours, spikes, two speeds and a probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.measurement import Machine, Measurement
from deploytk.report import Report
from deploytk.report.render import as_json

MACHINE = Machine(cpu="Some CPU", cores=2, memory_gib=7.8, system="Linux 6.1 x86_64", python="3.11.9")
VERSIONS = {"onnxruntime": "1.31.1", "deploytk": "0.1.0"}
BASE_MS = {1: 10.9, 2: 20.1, 4: 38.0}
SLOW = 1.385  # the machine this was written on: 10.9 or 15.1 ms


class Clock:
    """The speed of the machine as time passes: it changes every `dwell_s` on average, at random."""

    def __init__(self, rng: np.random.Generator, dwell_s: float = 90.0) -> None:
        self.switches = np.cumsum(rng.exponential(dwell_s, size=200))
        self.starts_slow = bool(rng.random() < 0.5)

    def at(self, time_s: float) -> float:
        """1, or `SLOW`."""
        odd = int(np.searchsorted(self.switches, time_s)) % 2 == 1
        return SLOW if odd != self.starts_slow else 1.0


class Steady(Clock):
    """A machine with one speed."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def at(self, time_s: float) -> float:  # noqa: ARG002
        return self.speed


def bench(
    rng: np.random.Generator,
    *,
    slower: float = 1.0,
    clock: Clock | None = None,
    begins_s: float = 0.0,
    elasticity: float = 1.0,
    rounds: int = 60,
    probe: bool = True,
    **changes: Any,
) -> Report:
    """A bench of three batch sizes; the model is `slower` times as slow as it was."""
    clock, at_s = clock or Steady(), [1.0 * n for n in range(rounds)]
    speeds = [clock.at(begins_s + t) for t in at_s]
    layout = math.exp(0.008 * rng.normal())  # where a process happens to lie in memory
    found = {batch: layout * slower * ms for batch, ms in BASE_MS.items()}
    measurements = tuple(_measured(rng, batch, ms, speeds, at_s, elasticity) for batch, ms in found.items())
    told: dict[str, Any] = {"rows": [], "boundary": "model", "arrival": "closed loop"}
    if probe:
        told["speed"] = {"what": "matrix products", "at_s": [t + 0.3 for t in at_s], "ms": _probe(rng, speeds)}
    values: dict[str, Any] = {
        "command": "bench",
        "title": "model.onnx",
        "verdict": Verdict(status="pass"),
        "exit_code": 0,
        "artifact": artifact(),
        "measurements": measurements,
        "budget": Budget(latency_ms=50),
        "machine": MACHINE,
        "versions": VERSIONS,
        "sections": {"bench": told},
    }
    return Report(**{**values, **changes})


def artifact(name: str = "model.onnx", digit: str = "b") -> Artifact:
    return Artifact(path=Path("runs") / name, format="onnx", precision="fp32", sha256=digit * 64, made_by="given")


def written(report: Report, folder: Path) -> Path:
    """The folder with the report in it."""
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(as_json(report), encoding="utf-8")
    return folder


def _measured(
    rng: np.random.Generator, batch: int, ms: float, speeds: Sequence[float], at_s: Sequence[float], elasticity: float
) -> Measurement:
    """Five calls a round: 3 % of noise whose neighbours correlate by 0.7, every fiftieth call twice as long."""
    level, samples = 0.0, []
    for speed in speeds:
        for _ in range(5):
            level = 0.7 * level + math.sqrt(1 - 0.49) * rng.normal()
            spike = 1.5 + rng.exponential(0.5) if rng.random() < 0.02 else 1.0
            samples.append(ms * speed**elasticity * math.exp(0.03 * level) * spike)
    return Measurement(
        artifact_sha256="b" * 64,
        runtime="onnx",
        batch=batch,
        samples_ms=tuple(samples),
        blocks=(5,) * len(speeds),
        block_at_s=tuple(at_s),
        peak_rss_mb=100.0,
        load_ms=40.0,
        details={"threads": 2, "versions": VERSIONS},
        machine=MACHINE,
    )


def _probe(rng: np.random.Generator, speeds: Sequence[float]) -> list[float]:
    noise = np.exp(0.03 * rng.normal(size=len(speeds))) * math.exp(0.008 * rng.normal())
    spikes = np.where(rng.random(len(speeds)) < 0.05, 1.6, 1.0)
    return [4.0 * s * float(n) for s, n in zip(speeds, noise * spikes, strict=True)]
