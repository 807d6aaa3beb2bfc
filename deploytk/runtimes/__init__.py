"""Where a model file is really run on this machine: one module per runtime, one protocol for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from deploytk.artifact import TensorSpec

Feed = Mapping[str, np.ndarray]


class Session(Protocol):
    """A model loaded and ready. A runtime module offers `open_session(path, *, batch, threads) -> Session`.

    `batch` is the batch size the session must run (None: the file's own). A file with another fixed batch is either
    really re-batched, `details["rebatched"]` saying so, or refused with `FixedBatch`: never run at another size.
    """

    inputs: tuple[TensorSpec, ...]  # shapes with the batch filled in
    outputs: tuple[TensorSpec, ...]
    details: dict[str, Any]  # provider really used, threads, version of the runtime

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name, in the dtypes of `inputs`."""
        ...


class FixedBatch(Exception):
    """The model file holds one batch size and cannot honestly be run at another."""
