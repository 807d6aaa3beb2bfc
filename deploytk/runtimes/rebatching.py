"""The batch size of a model, and the proof that at another size each item comes out as in the file itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.data.pixels import takes_any_size
from deploytk.errors import InputError
from deploytk.runtimes import FixedBatch

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
#: How far a re-batched item may be from the same item at the file's own batch: kernels sum in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def prove(
    name: str, original: Run, rebatched: Run, inputs: Sequence[TensorSpec], outputs: Sequence[str], own: int, batch: int
) -> None:
    """Nothing, where each of `batch` random items comes out of `rebatched` as it does of `original`.

    Args:
        name: of the file, for the message.
        inputs: of the original: dtypes and sizes; the leading dimension is the batch.
        outputs: names, in the order in which both give them.
        own: the batch size of the original.

    Raises:
        FixedBatch: it does not, or `rebatched` fails.
    """
    if any(map(takes_any_size, inputs)):
        raise FixedBatch(f"{name}: takes one image of any size at a time, not {batch}")
    whole = random_feed(inputs, own * -(-batch // own))
    held = f"{name}: fixed at batch {own}; at {batch}"
    try:
        got = rebatched({name: value[:batch] for name, value in whole.items()})
    except Exception as error:  # whatever a runtime raises for a graph that cannot run at this size
        raise FixedBatch(f"{held} it fails: {first_line(error)}") from error
    starts = range(0, len(next(iter(whole.values()))), own)
    parts = [list(original({name: value[at : at + own] for name, value in whole.items()})) for at in starts]
    for index, output in enumerate(outputs):
        expected = np.concatenate([np.atleast_1d(p[index]) for p in parts])[:batch]
        wrong = differs(expected, np.asarray(got[index]), batch)
        if wrong:
            raise FixedBatch(f"{held} its output {output} {wrong}")


def differs(expected: np.ndarray, got: np.ndarray, batch: int) -> str:
    """How an output of `batch` items is another than expected; empty where it is the same but for rounding."""
    if got.ndim == 0 or got.shape[0] != batch:
        return f"has shape {got.shape}, which does not begin with {batch}"
    if got.shape != expected.shape:
        return f"has shape {got.shape} instead of {expected.shape}"
    if not np.issubdtype(got.dtype, np.number):
        return "" if (expected == got).all() else "differs from the file's own results"
    wanted, given = expected.astype(np.float64), got.astype(np.float64)
    if np.issubdtype(got.dtype, np.integer):
        # A rounding that falls the other way moves a quantized value by one step.
        return "" if np.abs(wanted - given).max(initial=0) <= 1 else "differs from the file's own results"
    scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0))
    same = np.allclose(wanted, given, rtol=_RELATIVE, atol=_ABSOLUTE * scale, equal_nan=True)
    return "" if same else "differs from the file's own results"


def random_feed(specs: Sequence[TensorSpec], batch: int) -> dict[str, np.ndarray]:
    """Reproducible values for every input: 0..1 for floats, 0 and 1 for integers."""
    rng = np.random.default_rng(0)
    feed = {}
    for spec in specs:
        shape = (batch, *(int(d) for d in spec.shape[1:]))
        dtype = np.dtype(spec.dtype)
        values = rng.random(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feed[spec.name] = values.astype(dtype)
    return feed


def first_line(error: Exception) -> str:
    """What a library says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def own_batch(path: Path, specs: Sequence[TensorSpec]) -> int | None:
    """The batch size that the inputs of a file hold, None where it is free.

    Raises:
        InputError: there is no input with a leading dimension, so no batch; or another dimension is free too, unless
            that is the size of the image that the model prepares itself.
        FixedBatch: the inputs have no leading dimension in common.
    """
    free = [f"{s.name}[{i}] ({d})" for s in specs for i, d in enumerate(s.shape) if i > 0 and isinstance(d, str)]
    if free and not all(map(takes_any_size, specs)):
        raise InputError(
            f"{path}: dimensions other than the batch are free: {', '.join(free)}; "
            "export the model with fixed sizes for them, so that it is known what is measured"
        )
    if not any(s.shape for s in specs):
        raise InputError(f"{path}: no input has a batch dimension ({len(specs)} inputs); this bench is by batch size")
    leading = {s.shape[0] for s in specs if s.shape}
    numbers = {d for d in leading if isinstance(d, int)}
    if not numbers:
        return None
    if len(leading) != 1:
        raise FixedBatch(f"{path.name}: its inputs have no batch dimension in common: {[s.shape for s in specs]}")
    return numbers.pop()


def with_batch(spec: TensorSpec, batch: int | None) -> TensorSpec:
    """The spec with `batch` as its leading dimension (None: as it is)."""
    if batch is None or not spec.shape:
        return spec
    return replace(spec, shape=(batch, *spec.shape[1:]))
