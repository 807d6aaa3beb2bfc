"""Where a model file is really run on this machine: one module per runtime, one protocol for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.errors import InputError

Feed = Mapping[str, np.ndarray]
#: Options of a runtime by name, as the user wrote them: {"hint": "throughput"}.
Options = Mapping[str, str]


class Session(Protocol):
    """A model loaded and ready.

    A runtime module offers `FORMATS` (names of `graphs.identify` that it reads), `DISTRIBUTIONS` (what its results
    depend on), `OPTIONS` (name -> one sentence on its values) and
    `open_session(path, *, batch, threads, options={}) -> Session`. A session asserts that it got what was asked for.

    `batch` is the batch size the session must run (None: the file's own). A file with another fixed batch is either
    really re-batched, `details["rebatched"]` saying so, or refused with `FixedBatch`: never run at another size.
    """

    inputs: tuple[TensorSpec, ...]  # shapes with the batch filled in
    outputs: tuple[TensorSpec, ...]
    details: dict[str, Any]  # provider, threads, options and precision really used, version of the runtime

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name, in the dtypes of `inputs`."""
        ...

    def another(self) -> Self:
        """A second request on the same model, which may run in another thread while this one runs."""
        ...


class FixedBatch(Exception):
    """The model file holds one batch size and cannot honestly be run at another."""


def require_known(runtime: str, options: Options, known: Mapping[str, str]) -> None:
    """Nothing, where the runtime has every one of the options.

    Raises:
        InputError: it has not; the nearest name is suggested.
    """
    for name in options:
        if name not in known:
            raise InputError(plugins.unknown(f"option of the runtime {runtime}", name, known))
