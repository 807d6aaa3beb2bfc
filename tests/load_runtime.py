"""A runtime for tests of a load, found through an entry point: what it does stands beside the model file.

{"leak_mb": 1, "nan_after": 50, "abort_after": 50, "sleep_ms": 5, "slow_every": 100, "slow_ms": 300}
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.runtimes import FixedBatch

FORMATS = ("onnx",)
DISTRIBUTIONS = ("numpy",)


class Session:
    """Answers with its input's first value per item, after what it was told to do."""

    def __init__(self, batch: int, deeds: Mapping[str, float]) -> None:
        self.batch, self.deeds, self.calls = batch, deeds, 0
        self.held: list[bytearray] = []
        self.inputs = (TensorSpec(name="x", shape=(batch, 2), dtype="float32"),)
        self.outputs = (TensorSpec(name="y", shape=(batch, 1), dtype="float32"),)
        self.details: dict[str, Any] = {"provider": "fake"}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The first value of each item."""
        self.calls += 1
        if self.calls > self.deeds.get("abort_after", np.inf):
            os.abort()
        if self.calls > self.deeds.get("memory_after", np.inf):
            raise MemoryError
        slow = "slow_every" in self.deeds and self.calls % self.deeds["slow_every"] == 0
        time.sleep(self.deeds["slow_ms" if slow else "sleep_ms"] / 1000 if "sleep_ms" in self.deeds else 0)
        self.held.append(bytearray(b"x" * round(1e6 * self.deeds.get("leak_mb", 0))))
        out = feed["x"][:, :1].copy()
        if self.calls > self.deeds.get("nan_after", np.inf):
            out[0] = np.nan
        return {"y": out}

    def another(self) -> Self:
        """A second session of the same deeds."""
        return type(self)(self.batch, self.deeds)


def open_session(path: Path, *, batch: int, threads: int | None, options: Any = None) -> Session:  # noqa: ARG001
    """A session that does what `path` says."""
    deeds = json.loads(path.with_suffix(".deeds.json").read_text())
    if batch > deeds.get("largest", np.inf):
        raise FixedBatch(f"{path.name} has batch size {deeds['largest']} and cannot be run at {batch}")
    return Session(batch, deeds)
