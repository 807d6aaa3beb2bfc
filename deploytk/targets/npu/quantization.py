"""A float LiteRT file as a full-integer INT8 one, its ranges from real inputs (ai_edge_quantizer)."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer
from ai_edge_quantizer import recipe as recipes

from deploytk import usage, worker
from deploytk.errors import DeploytkError, InputError
from deploytk.graphs import litert
from deploytk.recipe import Recipe
from deploytk.targets.npu.flatbuffer import normalise
from deploytk.targets.npu.proof import prove
from deploytk.targets.npu.ranges import Observed

#: Inputs kept for the proof that the normalised file still computes the same.
_PROOF = 4
#: The correction "percentile" keeps the ranges that so many per cent of the images stay within.
PERCENT = 95.0

Feeds = Callable[[], Iterator[np.ndarray]]


def quantize_graph(model: Path, feeds: Feeds, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Write the INT8 version of a float LiteRT `model` as the recipe says; the facts that `quantize` tells.

    Args:
        feeds: starts a pass over real inputs, float32 (1, C, H, W) each, as every target gets them.

    Raises:
        InputError: the recipe asks for what no full-integer file can have: layers in float, another correction.
    """
    if recipe.float_nodes or recipe.correction not in ("none", "percentile"):
        raise InputError(f"a full-integer LiteRT file has no float layers and no correction {recipe.correction!r}")
    channels_last = (np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in feeds())
    return quantize(model, channels_last, out, percent=PERCENT if recipe.correction == "percentile" else 100.0)


def quantize(model: Path, feeds: Iterable[np.ndarray], out: Path, *, percent: float = 100.0) -> dict[str, Any]:
    """Write the INT8 version of `model`: static ranges, int8 in and out, normalised for Vela and proved.

    Args:
        feeds: real inputs, float32 with channels last, one image each.
        percent: of the images stay within the range of a tensor, at each end; 100 is what any of them reaches.

    Returns:
        calibration_images, what the passes changed (inlined, collapsed, merged, requantized), how far the
        normalised file is from the quantizer's (in steps), float_islands and saturated_biases ("OP tensor"), int8_io.

    Raises:
        InputError: no feeds, feeds of another shape, or with NaN or infinity; not a float model.
        ParityFailed: the normalised file does not compute what the quantizer's does.
    """
    graph = litert.read(model)
    if not graph.inputs or graph.inputs[0].dtype != "float32":
        raise InputError(f"{model}: only a float32 model can be quantized, this one takes {graph.inputs[0].dtype}")
    seen = _Seen(shape=graph.inputs[0].shape)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        raw = Path(folder) / "raw.tflite"
        _quantized(model, seen, seen.checked(feeds), raw, percent)
        done = normalise(raw, out)
        proof = prove(raw, out, seen.kept) if done.changed else {}
    made = litert.read(out)
    if not made.integer_io:
        raise DeploytkError(f"{out.name}: the quantizer left float inputs or outputs")
    return {
        "calibration_images": seen.count,
        **asdict(done),
        **proof,
        "float_islands": [f"{n.op} {n.name}" for n in made.float_nodes],
        "saturated_biases": saturated_biases(out),
        "int8_io": True,
    }


@dataclass
class _Seen:
    """What the calibration inputs looked like, taken down while they stream past."""

    shape: tuple[int, ...]
    count: int = 0
    kept: list[np.ndarray] = field(default_factory=list)

    def checked(self, feeds: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The feeds one by one, each looked at."""
        for feed in feeds:
            if feed.shape != self.shape or feed.dtype != np.float32 or not np.isfinite(feed).all():
                raise InputError(
                    f"calibration input {self.count} must be finite float32 {list(self.shape)}, "
                    f"not {feed.dtype.name} {list(feed.shape)}"
                )
            self.count += 1
            if len(self.kept) < _PROOF:
                self.kept.append(feed)
            yield feed


def _quantized(model: Path, seen: _Seen, feeds: Iterator[np.ndarray], out: Path, percent: float = 100.0) -> None:
    """Calibrate on `feeds` and write the quantizer's own file."""
    signature, argument = _entry(model)
    tool = quantizer.Quantizer(str(model), recipes.static_wi8_ai8())
    observed = Observed()
    with warnings.catch_warnings():
        # Preserving all tensors is how the library calibrates; saturated casts are counted by `saturated_biases`.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        warnings.filterwarnings("ignore", message="invalid value encountered in cast")
        for feed in feeds:
            observed.add(tool.calibrate({signature: [{argument: feed}]}, num_threads=usage.cores()))
            worker.emit(done=seen.count, text=f"calibrated on {seen.count} images")
        if not observed.first:
            raise InputError("calibration needs real inputs and was given none; check the profile's data")
        result = tool.quantize(observed.within(percent), enable_progress_bar=False, enable_progress_report=False)
    out.write_bytes(bytes(result.quantized_model))


def saturated_biases(model: Path) -> list[str]:
    """The operators whose int32 bias reached the end of its range: their calibration ranges are too narrow to be real.

    The quantizer clips in float32, where the largest int32 rounds up and wraps to the smallest: a wrong sign.
    """
    limits, loaded = np.iinfo(np.int32), litert.load(model)
    found = []
    for node in litert.read(model).nodes:
        for tensor in (t for t in node.inputs[2:3] if t.dtype == "int32" and t.constant):
            data = loaded.buffers[loaded.subgraphs[0].tensors[tensor.index].buffer].data
            values = np.frombuffer(bytes(data), dtype=np.int32)
            if np.isin(values, (limits.min, limits.max)).any():
                found.append(f"{node.op} {node.name}")
    return found


def _entry(model: Path) -> tuple[str, str]:
    """The names of the signature and of its one input."""
    signatures = litert.load(model).signatureDefs or []
    if len(signatures) != 1 or len(signatures[0].inputs) != 1:
        raise InputError(f"{model}: calibration needs a model with one signature and one input")
    return signatures[0].signatureKey.decode(), signatures[0].inputs[0].name.decode()
