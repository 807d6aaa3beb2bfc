"""A float LiteRT file as a full-integer INT8 one, its ranges from real inputs (ai_edge_quantizer)."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer, recipe

from deploytk import worker
from deploytk.errors import DeploytkError, InputError
from deploytk.graphs import litert
from deploytk.targets.npu.flatbuffer import normalise
from deploytk.targets.npu.proof import prove

#: The quantizer lists the feeds it is given: in chunks, they are never in memory all at once.
_CHUNK = 8
#: Inputs kept for the proof that the normalised file still computes the same.
_PROOF = 4


def quantize(model: Path, feeds: Iterable[np.ndarray], out: Path) -> dict[str, Any]:
    """Write the INT8 version of `model`: static ranges, int8 in and out, normalised for Vela and proved.

    Args:
        feeds: real inputs, float32 with channels last, one image each.

    Returns:
        calibration_images, what the passes changed (inlined, collapsed, merged, requantized), how far the
        normalised file is from the quantizer's (in steps), float_islands ("OP tensor"), int8_io.

    Raises:
        InputError: no feeds, feeds of another shape, or with NaN or infinity; not a float model.
        ParityFailed: the normalised file does not compute what the quantizer's does.
    """
    graph = litert.read(model)
    if not graph.inputs or graph.inputs[0].dtype != "float32":
        raise InputError(f"{model}: only a float32 model can be quantized, this one takes {graph.inputs[0].dtype}")
    kept: list[np.ndarray] = []
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        raw = Path(folder) / "raw.tflite"
        images = _quantized(model, _checked(feeds, graph.inputs[0].shape, kept), raw)
        done = normalise(raw, out)
        proof = prove(raw, out, kept) if done.changed else {}
    made = litert.read(out)
    if not made.integer_io:
        raise DeploytkError(f"{out.name}: the quantizer left float inputs or outputs")
    islands = [f"{n.op} {n.name}" for n in made.float_nodes]
    return {"calibration_images": images, **asdict(done), **proof, "float_islands": islands, "int8_io": True}


def _quantized(model: Path, feeds: Iterator[np.ndarray], out: Path) -> int:
    """Calibrate on `feeds` and write the quantizer's own file; the number of feeds."""
    signature, argument = _entry(model)
    tool = quantizer.Quantizer(str(model), recipe.static_wi8_ai8())
    ranges, count = None, 0
    while chunk := list(itertools.islice(feeds, _CHUNK)):
        rows = [{argument: feed} for feed in chunk]
        ranges = tool.calibrate({signature: rows}, previous_calibration_result=ranges, num_threads=_cores())
        count += len(chunk)
        worker.emit(done=count, text=f"calibrated on {count} images")
    if not ranges:
        raise InputError("calibration needs real inputs and was given none; check the profile's data and calibration")
    result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    out.write_bytes(bytes(result.quantized_model))
    return count


def _checked(feeds: Iterable[np.ndarray], shape: tuple[int, ...], kept: list[np.ndarray]) -> Iterator[np.ndarray]:
    for number, feed in enumerate(feeds):
        if feed.shape != shape or feed.dtype != np.float32 or not np.isfinite(feed).all():
            raise InputError(
                f"calibration input {number} must be finite float32 {list(shape)}, "
                f"not {feed.dtype.name} {list(feed.shape)}"
            )
        if len(kept) < _PROOF:
            kept.append(feed)
        yield feed


def _entry(model: Path) -> tuple[str, str]:
    """The names of the signature and of its one input."""
    signatures = litert.load(model).signatureDefs or []
    if len(signatures) != 1 or len(signatures[0].inputs) != 1:
        raise InputError(f"{model}: calibration needs a model with one signature and one input")
    return signatures[0].signatureKey.decode(), signatures[0].inputs[0].name.decode()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
