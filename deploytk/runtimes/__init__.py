"""Where a model file is really run on this machine: one module per runtime, one protocol for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.errors import InputError

T = TypeVar("T")
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

    A module whose runtime needs an NVIDIA GPU says so with `NEEDS_GPU = True`. A session that knows more of its last
    run than the caller's clock has `last_ms`, in ms by name (`device`: the GPU's own time, without the copies).
    """

    inputs: tuple[TensorSpec, ...]  # shapes with the batch filled in
    outputs: tuple[TensorSpec, ...]
    details: dict[str, Any]  # provider, threads, options and precision really used, version of the runtime

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The outputs by name, for inputs by name, in the dtypes of `inputs`; they hold until the next run."""
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


def chosen(runtime: str, options: Options, name: str, values: Mapping[str, T], default: str) -> T:
    """What the value of one option stands for in `values`; the default's where it is not given.

    Raises:
        InputError: the value is none of them; the nearest is suggested.
    """
    given = options.get(name, default)
    if given not in values:
        near = plugins.suggestion(given, values)
        raise InputError(f"{runtime}: {name} cannot be {given!r}{near or '.'} Known: {', '.join(values)}")
    return values[given]


def whole_number(runtime: str, options: Options, name: str) -> int | None:
    """The value of one option as a number of 1 or more; None where it is not given.

    Raises:
        InputError: it is no such number.
    """
    given = options.get(name)
    if given is None:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{runtime}: {name} must be a whole number of 1 or more, not {given!r}")
    return int(given)


def require_fits(feed: Feed, spec: TensorSpec) -> np.ndarray:
    """The value for one input, contiguous in memory.

    Raises:
        InputError: it is missing, or has another dtype or shape than the model's.
    """
    value = feed.get(spec.name)
    if value is None:
        raise InputError(f"the model's input {spec.name!r} is missing; given: {', '.join(feed) or 'nothing'}")
    fits = value.shape == spec.shape or (
        len(value.shape) == len(spec.shape)
        and all(isinstance(d, str) or d == given for d, given in zip(spec.shape, value.shape, strict=True))
    )
    if not fits or value.dtype.name != spec.dtype:
        raise InputError(
            f"input {spec.name!r} must be {spec.dtype} {list(spec.shape)}, not {value.dtype.name} {list(value.shape)}"
        )
    return np.ascontiguousarray(value)
