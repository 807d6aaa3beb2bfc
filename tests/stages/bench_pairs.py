"""Benches as two runs of one machine would give them, simulated: alike neighbours, spikes, a busy core."""

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
#: Two threads on one core, as measured (bench/LOG.md): 3.6 times as long, and a run delay of 97 % of that.
SLOW, WAITED = 3.6, 0.97


class Neighbour:
    """Another process that takes a core now and then."""

    def __init__(self, rng: np.random.Generator, *, quiet_s: float, busy_s: float) -> None:
        lengths = rng.exponential(1.0, size=(200, 2)) * (quiet_s, busy_s)
        self.edges = np.cumsum(lengths.ravel())
        self.ahead_s = float(rng.uniform(0, 5 * (quiet_s + busy_s)))

    def takes(self, time_s: float) -> bool:
        """Whether it takes a core at that time."""
        return int(np.searchsorted(self.edges, self.ahead_s + time_s)) % 2 == 1


class Nobody(Neighbour):
    """A quiet machine."""

    def __init__(self) -> None:
        pass

    def takes(self, time_s: float) -> bool:  # noqa: ARG002
        return False


def bench(
    rng: np.random.Generator,
    *,
    slower: float = 1.0,
    level: float = 1.0,
    neighbour: Neighbour | None = None,
    begins_s: float = 0.0,
    rounds: int = 60,
    told: bool = True,
    **changes: Any,
) -> Report:
    """A bench of three batch sizes.

    Args:
        slower: how many times as long the model takes as it did.
        level: how many times as long everything takes in this run, for reasons that nobody knows.
        told: whether the system tells how long threads wait for a core.
    """
    neighbour, at_s = neighbour or Nobody(), [1.0 * n for n in range(rounds)]
    busy = [neighbour.takes(begins_s + t) for t in at_s]
    measurements = tuple(_measured(rng, b, level * slower * ms, busy, at_s, told) for b, ms in BASE_MS.items())
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
        "sections": {"bench": {"rows": [], "boundary": "model", "arrival": "closed loop"}},
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
    rng: np.random.Generator, batch: int, ms: float, busy: Sequence[bool], at_s: Sequence[float], told: bool
) -> Measurement:
    """Five calls a round: 3 % of noise whose neighbours correlate by 0.7, every fiftieth call twice as long.

    A round beside a busy core takes longer and its threads wait; in the others they wait for up to 3 % of the time.
    """
    noise, samples, waited = 0.0, [], []
    for taken in busy:
        for _ in range(5):
            noise = 0.7 * noise + math.sqrt(1 - 0.49) * rng.normal()
            spike = 1.5 + rng.exponential(0.5) if rng.random() < 0.02 else 1.0
            samples.append(ms * (SLOW if taken else 1.0) * math.exp(0.03 * noise) * spike)
        waited.append(sum(samples[-5:]) * (WAITED if taken else 0.03 * rng.random()))
    return Measurement(
        artifact_sha256="b" * 64,
        runtime="onnx",
        batch=batch,
        samples_ms=tuple(samples),
        blocks=(5,) * len(busy),
        block_at_s=tuple(at_s),
        block_waited_ms=tuple(waited) if told else (),
        peak_rss_mb=100.0,
        load_ms=40.0,
        details={"threads": 2, "versions": VERSIONS},
        machine=MACHINE,
    )
