"""The two sides of a comparison, opened as one kind of thing: a model that gives real numbers, channels first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data.detections import Head, head_of, reals
from deploytk.errors import InputError
from deploytk.graphs import pickles
from deploytk.graphs.identify import RUNNABLE, require_model
from deploytk.runtimes import Feed, Options, Session
from deploytk.stages.bench_inputs import fitted

#: What is compared: every kind of file that runs here, and checkpoints.
KINDS = frozenset(RUNNABLE) | {"torch"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model ready to be compared."""

    path: Path
    kind: str  # as `graphs.identify` calls it
    session: Session
    options: Options = field(default_factory=dict)  # of the runtime
    backend: str = ""  # of a checkpoint

    @property
    def batch(self) -> int | None:
        """The batch size that the file holds; None where it is free."""
        first = self.session.inputs[0].shape[:1]
        return first[0] if first and isinstance(first[0], int) else None

    @property
    def any_size(self) -> bool:
        """Whether height and width of its image are free."""
        return all(len(s.shape) == 4 and sum(isinstance(d, str) for d in s.shape[1:]) == 2 for s in self.session.inputs)

    @property
    def channels(self) -> int:
        """1 or 3, where it takes one image; otherwise 0."""
        shape = self.session.inputs[0].shape
        return 0 if not self._image else 3 if 3 in shape[1:] else int(1 in shape[1:])

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width) of its image; None where they are free. A checkpoint's are those it was trained at."""
        trained = self.session.details.get("trained_at")
        if trained is not None:
            return trained, trained
        shape = self.session.inputs[0].shape
        found = [d for d in (shape[2:] if shape[1] in (1, 3) else shape[1:3]) if isinstance(d, int)]
        return (found[0], found[1]) if self._image and len(found) == 2 else None

    @property
    def _image(self) -> bool:
        return len(self.session.inputs) == 1 and len(self.session.inputs[0].shape) == 4

    def head(self, size: tuple[int, int], outputs: Sequence[np.ndarray] | None = None) -> Head | None:
        """What its outputs are for inputs of `size`; None where they are neither boxes nor classes.

        Args:
            outputs: what it gave, where the file does not hold the shapes.
        """
        specs = self.session.outputs
        if outputs is not None:
            specs = tuple(replace(s, shape=("batch", *o.shape[1:])) for s, o in zip(specs, outputs, strict=True))
        try:
            return head_of(specs, size)
        except InputError:
            return None

    def feed(self, rows: Mapping[str, np.ndarray]) -> Feed:
        """Samples by the name of the source's input, in the layout and dtype of this model's own inputs."""
        own = self.session.inputs
        if len(own) == len(rows) == 1:
            return {own[0].name: fitted(next(iter(rows.values())), own[0])}
        lacking = [spec.name for spec in own if spec.name not in rows]
        if lacking:
            raise InputError(f"{self.path.name}: no samples for the inputs {', '.join(lacking)}")
        return {spec.name: fitted(rows[spec.name], spec) for spec in own}

    def run(self, rows: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs as real numbers, in the order of `session.outputs`; copies."""
        made = self.session.run(self.feed(rows))
        return [np.array(reals(made[spec.name], spec)) for spec in self.session.outputs]


def opened(path: Path, *, backend: str | None = None, options: Options | None = None) -> Model:
    """The model at `path`, on the runtime that runs its kind; a checkpoint through its backend.

    Args:
        backend: of a checkpoint; None where the file itself tells.
        options: of the runtime.

    Raises:
        InputError: no model, or one that does not run here.
    """
    kind = require_model(path, KINDS)
    if kind.name == "torch":
        whose = backend or pickles.backend_of(path)
        return Model(
            path=path, kind="torch", session=TorchSession(path, plugins.load("backends", whose)), backend=whose
        )
    runtime = plugins.load("runtimes", RUNNABLE[kind.name])
    session = runtime.open_session(path, batch=None, threads=None, options=options or {})
    return Model(path=path, kind=kind.name, session=session, options=options or {})


def decoded(model: Model, source: Model) -> Model:
    """`model` with its raw maps decoded as the checkpoint `source` decodes its own; other models as they are."""
    if not isinstance(source.session, TorchSession) or len(model.session.outputs) < 2:
        return model
    return replace(model, session=DecodedSession(model, source.session))


class TorchSession:
    """A backend's checkpoint as a session: `images` -> `output0` (N, 4 + classes, anchors) or `logits` (N, classes)."""

    def __init__(self, checkpoint: Path, backend: Any) -> None:
        self._predict, self._backend, self._checkpoint = backend.torch_predictor(checkpoint), backend, checkpoint
        size = int(backend.describe(checkpoint)["imgsz"])
        self.details: dict[str, Any] = {"precision": "float32", "trained_at": size}
        images = TensorSpec(name="images", shape=("batch", 3, "height", "width"), dtype="float32")
        self.inputs: tuple[TensorSpec, ...] = (images,)
        made = self.decode(self._predict(np.zeros((1, 3, size, size), np.float32)))
        self.name = "logits" if made.ndim == 2 else "output0"
        self.outputs: tuple[TensorSpec, ...] = (
            TensorSpec(name=self.name, shape=("batch", *made.shape[1:]), dtype="float32"),
        )

    def decode(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """What this checkpoint's network gives (raw maps, NCHW, or logits), decoded."""
        return np.asarray(self._backend.decode(maps, self._checkpoint))

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The output by name."""
        return {self.name: self.decode(self._predict(feed["images"]))}

    def another(self) -> Self:
        """The session itself."""
        return self


class DecodedSession:
    """A model that gives raw maps, channels last, as one that gives the decoded output."""

    def __init__(self, model: Model, source: TorchSession) -> None:
        self._model, self._source = model, source
        self.inputs, self.outputs, self.details = model.session.inputs, source.outputs, model.session.details

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The output by name."""
        made, specs = self._model.session.run(feed), self._model.session.outputs
        maps = [np.moveaxis(reals(made[spec.name], spec), -1, 1) for spec in specs]
        return {self._source.name: self._source.decode(maps)}

    def another(self) -> Self:
        """The session itself."""
        return self
