"""A runtime for tests, found through an entry point: what it does at which batch size stands in the model file.

    {"8": "abort", "16": "memory", "32": "killed"}      at other batch sizes it answers at once

`latency_ms` in the file is added to each call, as time that the clock sees and nobody waits for.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import FixedBatch

FORMATS = ("onnx",)
DISTRIBUTIONS = ("numpy",)
OPTIONS = {"trust": "yes or no"}


class FakeSession:
    """Answers with its input's first value per item."""

    def __init__(self, batch: int, deed: str) -> None:
        self.batch, self.deed, self.calls = batch, deed, 0
        self.kept: list[np.ndarray] = []
        self.inputs = (TensorSpec(name="x", shape=(batch, 2), dtype="float32"),)
        self.outputs = (TensorSpec(name="y", shape=(batch, 1), dtype="float32"),)
        self.details: dict[str, Any] = {"provider": "fake"}

    @property
    def last_ms(self) -> dict[str, float]:
        """On a "device": a quarter of a millisecond for each run so far."""
        return {"device": 0.25 * self.calls} if self.calls and self.deed == "device" else {}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The first value of each item, unless the file says otherwise."""
        self.calls += 1
        return {"y": _do(self, self.deed, feed["x"][:, :1].copy())}


def open_session(path: Path, *, batch: int, threads: int | None, options: Any = None) -> FakeSession:  # noqa: ARG001
    """A session that misbehaves as `path` says."""
    print("noise on stdout")
    os.write(2, b"noise on stderr\n")
    deed = json.loads(path.with_suffix(".deeds.json").read_text()).get(str(batch), "")
    if deed == "fixed":
        raise FixedBatch(f"{path.name} has batch size 1 and cannot be run at {batch}")
    if deed == "missing":
        raise MissingDependency("the device that this needs is not here")
    if deed == "unreadable":
        raise InputError(f"{path}: cannot be loaded")
    session = FakeSession(batch, deed)
    session.details["options"] = dict(options or {})
    return session


def _do(session: FakeSession, deed: str, out: np.ndarray) -> np.ndarray:
    if deed == "abort":
        os.abort()
    if deed == "memory":
        raise MemoryError
    if deed == "bad_alloc":
        raise RuntimeError("std::bad_alloc")
    if deed == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "hang":
        time.sleep(3600)
    if deed == "raise":
        raise ValueError("no kernel for this shape")
    if deed == "nan later" and session.calls > 30:
        out[0] = np.nan
    if deed == "batch 1":
        return out[:1]
    if deed == "slow":
        time.sleep(0.02)
    if deed == "leak":
        session.kept.append(np.ones(1 << 17))  # 1 MiB
    if deed.startswith("naps") and session.calls % int(deed.split()[1]) == 0:
        time.sleep(0.02)
    if deed == "forgets" and session.calls > 30:
        out[0] += 1
    return out
