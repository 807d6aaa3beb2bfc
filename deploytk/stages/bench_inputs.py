"""What a model is fed while it is measured: its own samples where given, otherwise drawn, the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError

COUNT = 6
#: So many items are drawn for a batch; a larger one repeats them. To draw half a gigabyte, as for six batches of 64
#: images of 320 px, takes longer than to look at the model.
_MOST_DRAWN = 8
_MOST_TOKEN = 100  # small enough to be inside any vocabulary

Feed = dict[str, np.ndarray]


def feeds_for(inputs: Sequence[TensorSpec], samples: Path | None) -> tuple[list[Feed], str]:
    """(several distinct feeds, what they are in words) for inputs whose batch is filled in.

    Args:
        samples: an .npz with one array per input name (or a single array for a single input), samples along its
            first axis.

    Raises:
        InputError: the samples do not fit the inputs, or there is a size that is not known.
    """
    _require_sizes(inputs)
    if samples is None:
        rng = np.random.default_rng(0)
        feeds = [{spec.name: _drawn(rng, spec, turn) for spec in inputs} for turn in range(COUNT)]
        return feeds, f"{COUNT} distinct drawn inputs (seed 0): {'; '.join(_how(spec) for spec in inputs)}"
    arrays = _arrays(samples, inputs)
    feeds = [{spec.name: _taken(arrays[spec.name], spec, turn) for spec in inputs} for turn in range(COUNT)]
    held = len(next(iter(arrays.values())))
    return feeds, f"{COUNT} distinct feeds made of the {held} samples in {samples.name}"


def _require_sizes(inputs: Sequence[TensorSpec]) -> None:
    free = [spec.name for spec in inputs if any(isinstance(d, str) for d in spec.shape)]
    if free:
        raise InputError(
            f"the input {free[0]} takes images of any size, so its time depends on the images: "
            "measure it with --boundary end_to_end --images"
        )


def _drawn(rng: np.random.Generator, spec: TensorSpec, turn: int) -> np.ndarray:
    """Noise over the whole range of the input, with a brightness and contrast that change with the turn.

    A large batch repeats its first items.
    """
    size = int(spec.shape[0]) if spec.shape else 1
    if size > _MOST_DRAWN:
        few = _drawn(rng, replace(spec, shape=(_MOST_DRAWN, *spec.shape[1:])), turn)
        return np.resize(few, (size, *few.shape[1:]))
    shape = tuple(int(d) for d in spec.shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "biuf":
        raise InputError(f"the input {spec.name} takes {spec.dtype}, which cannot be drawn; give --samples FILE.npz")
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu" and dtype.itemsize > 1:
        return rng.integers(1, _MOST_TOKEN, shape).astype(dtype)
    low = turn / (2 * COUNT)
    values = low + (1 - low) * rng.random(shape, dtype=np.float32) ** (1 + turn)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.round(limits.min + values * (int(limits.max) - int(limits.min))).astype(dtype)


def _how(spec: TensorSpec) -> str:
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "b":
        ranged = "true and false"
    elif dtype.kind == "f":
        ranged = "0..1"
    elif dtype.itemsize > 1:
        ranged = f"1..{_MOST_TOKEN - 1}"
    else:
        ranged = f"{np.iinfo(dtype).min}..{np.iinfo(dtype).max}"
    repeats = f", {_MOST_DRAWN} items repeated" if spec.shape and int(spec.shape[0]) > _MOST_DRAWN else ""
    return f"{spec.name} {spec.dtype} {ranged}{repeats}"


def _arrays(samples: Path, inputs: Sequence[TensorSpec]) -> Mapping[str, np.ndarray]:
    try:
        with np.load(samples, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{samples}: no readable .npz of samples ({error})") from error
    if len(arrays) == len(inputs) == 1:
        arrays = {inputs[0].name: next(iter(arrays.values()))}
    lacking = [spec.name for spec in inputs if not arrays.get(spec.name, np.empty(0)).size]
    if lacking:
        raise InputError(
            f"{samples}: no samples for the inputs {', '.join(lacking)}; it holds {', '.join(arrays) or 'none'}"
        )
    return arrays


def _taken(array: np.ndarray, spec: TensorSpec, turn: int) -> np.ndarray:
    """A batch of samples that begins with another one each turn, in the input's layout and dtype."""
    return fitted(array[(np.arange(int(spec.shape[0])) + turn) % len(array)], spec)


def fitted(rows: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Samples in the layout and dtype of an input; a dimension of it that is free takes any size.

    Raises:
        InputError: they do not fit.
    """
    layouts = [rows]
    if rows.ndim == 4:  # NCHW images for an NHWC model, and the other way
        layouts += [rows.transpose(0, 2, 3, 1), rows.transpose(0, 3, 1, 2)]
    for one in layouts:
        same = len(one.shape) == len(spec.shape)
        if same and all(isinstance(d, str) or d == has for d, has in zip(spec.shape, one.shape, strict=True)):
            return _as_dtype(np.ascontiguousarray(one), spec)
    raise InputError(f"samples of shape {rows.shape} do not fit the input {spec.name} {spec.shape}")


def _as_dtype(rows: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """`rows` in the input's dtype, quantized with its scale where it has one."""
    dtype = np.dtype(spec.dtype)
    if rows.dtype.kind == "f" and dtype.kind in "iu" and spec.scale:
        limits = np.iinfo(dtype)
        return np.clip(np.round(rows / spec.scale) + (spec.zero_point or 0), limits.min, limits.max).astype(dtype)
    return rows.astype(dtype)
