"""The two models of a pipeline, opened in one process so that neither takes the cores from the other.

The idle threads of an ONNX Runtime session go on spinning after a run, on the cores that the next session needs: two
default sessions took 1.6 to 1.9 times what they take alone. Here they stop at the end of each run (`spin=stop`).
OpenVINO's models share one core, LiteRT's threads sleep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data.detections import reals
from deploytk.errors import InputError
from deploytk.pipelines.description import Described
from deploytk.runtimes import FixedBatch, Session


class Rows:
    """A classifier that takes any number of crops, at most `most` at a time, whatever batch sizes its file can run."""

    def __init__(self, sessions: Mapping[int | None, Session], most: int) -> None:
        """Rows for sessions by their batch size; None is one that takes any number.

        Args:
            most: rows in one run; without a session for any number it is the largest of the batch sizes.
        """
        self._any = sessions.get(None)
        self._fixed = {size: session for size, session in sessions.items() if size is not None}
        first = next(iter(sessions.values()))
        self.most = most if self._any else max(self._fixed)
        self.output = first.outputs[0]
        self.outputs = first.outputs
        self.details = first.details
        self.input = TensorSpec(**{**vars(first.inputs[0]), "shape": ("n", *first.inputs[0].shape[1:])})

    @property
    def sizes(self) -> str:
        """The batch sizes in words."""
        return f"1 to {self.most}" if self._any else " or ".join(map(str, sorted(self._fixed)))

    def run(self, rows: np.ndarray, count: int) -> np.ndarray:
        """(count, classes): the output for the first `count` of the `most` prepared rows."""
        if self._any:
            return self._given(self._any, rows[:count])
        small = self._fixed.get(1)
        # A batch that is half empty takes longer than its crops one by one.
        if small is not None and (count <= self.most // 2 or self.most == 1):
            return np.concatenate([np.array(self._given(small, rows[i : i + 1])) for i in range(count)])
        return self._given(self._fixed[self.most], rows)[:count]

    def _given(self, session: Session, rows: np.ndarray) -> np.ndarray:
        return session.run({self.input.name: rows})[self.output.name]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The sessions of a pipeline: the detector's, for a number of images, and the classifier's, for any of crops."""

    detector: Session
    classifier: Rows


def opened(described: Described, images: int) -> Opened:
    """The two sessions of a pipeline, for `images` images at a time.

    Raises:
        InputError: a model cannot be loaded, or does not fit what pipeline.json says of it.
        FixedBatch: the detector's file cannot be run with so many images.
        MissingDependency: the runtime is not installed.
    """
    told = described.description
    runtime = plugins.load("runtimes", told.runtime)
    options = ({"spin": "stop"} if told.runtime == "onnx" else {}) | told.options
    detector = runtime.open_session(described.detector, batch=images, threads=told.threads, options=options)
    classifier = _rows(runtime, described.classifier, told.classifier.batch, told.threads, options)
    return Opened(detector=detector, classifier=classifier)


def _rows(runtime: ModuleType, path: Path, batch: int, threads: int | None, options: Mapping[str, str]) -> Rows:
    """The classifier, with one session where its file takes any number of rows."""
    own: Session = runtime.open_session(path, batch=None, threads=threads, options=options)
    if len(own.inputs) != 1 or len(own.outputs) != 1:
        raise InputError(f"{path}: a classifier has one input and one output, this has {_counted(own)}")
    size = own.inputs[0].shape[0]
    if isinstance(size, str):
        return Rows({None: own}, batch)
    sessions: dict[int | None, Session] = {}
    for wanted in {1, batch} - {size}:
        with contextlib.suppress(FixedBatch):
            sessions[wanted] = runtime.open_session(path, batch=wanted, threads=threads, options=options)
    if size in (1, batch) or not sessions:
        sessions[size] = own
    return Rows(sessions, batch)


def _counted(session: Session) -> str:
    return f"{len(session.inputs)} and {len(session.outputs)}"


def probabilities_wrong(output: np.ndarray, spec: TensorSpec) -> str:
    """Why a classifier's output cannot be right, as a sentence, or the empty string."""
    if np.isfinite(reals(output, spec)).all():
        return ""
    return f"Output {spec.name} of the classifier holds NaN or infinity."
