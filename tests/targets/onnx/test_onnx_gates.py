"""INT8 models that no one may deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_detector

from deploytk.errors import ParityFailed
from deploytk.targets.onnx import gates, preparing, qdq, ranges, schemes
from deploytk.targets.onnx.scope import Scope, scope


def everything_quantized(folder: Path, **wider: tuple[float, float]) -> tuple[Any, Any]:
    """The float model, and the INT8 one as ONNX Runtime makes it by default: with the decoding."""
    path = tiny_detector.write(folder / "m.onnx")
    model, graph = preparing.prepared(path, folder / "f.onnx")
    found = scope(graph)
    tensors = tuple(t for n in graph.nodes for t in (*n.inputs, *n.outputs) if t not in graph.weights)
    extents, _ = ranges.ranges(model, tensors, tiny_detector.feeds, "minmax")
    whole = Scope(
        weighted=found.weighted,
        between=tuple(n.name for n in graph.nodes if n.name not in found.weighted),
        kept=(),
        tensors=tensors,
        boundary=("y",),
    )
    return model, qdq.quantized(model, {**extents, **wider}, whole, schemes.types("auto"))


def test_scores_rounded_to_zero_by_the_scale_of_the_boxes_fail(tmp_path: Path) -> None:
    model, made = everything_quantized(tmp_path, y=(0.0, 850.0))  # a scale of 3.33
    with pytest.raises(ParityFailed, match=r"output 'y' collapsed: channel 4, 5 of 6 is one value") as error:
        gates.compared("int8.onnx", model, made, tiny_detector.feeds)
    assert "the layer furthest off is" in str(error.value)


def test_a_sound_model_passes_with_its_distances(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    model, graph = preparing.prepared(path, tmp_path / "f.onnx")
    found = scope(graph)
    extents, _ = ranges.ranges(model, found.tensors, tiny_detector.feeds, "minmax")
    told = gates.compared(
        "int8.onnx", model, qdq.quantized(model, extents, found, schemes.types("auto")), tiny_detector.feeds
    )
    assert told["outputs_sqnr_db"]["y"] > 30
    assert all(one["sqnr_db"] > 20 for one in told["worst_layers"])


def test_an_output_with_nan_fails(tmp_path: Path) -> None:
    model = onnx.load(tiny_detector.write(tmp_path / "m.onnx"))
    broken = onnx.load(tiny_detector.write(tmp_path / "n.onnx"))
    bias = next(t for t in broken.graph.initializer if t.name == "bs")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.array([np.nan, 0], np.float32), "bs"))
    with pytest.raises(ParityFailed, match="holds NaN or infinity"):
        gates.compared("int8.onnx", model, broken, tiny_detector.feeds)


def test_a_float_file_is_not_taken_for_int8(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match="INT8 was asked for, but ONNX Runtime runs it in float32"):
        gates.precision(tiny_detector.write(tmp_path / "m.onnx"))


def test_kernels_that_are_far_from_what_is_written_fail() -> None:
    gates.require_unsaturated("int8.onnx", "y", run_db=37.9, exact_db=38.0)
    with pytest.raises(ParityFailed, match=r"keeps 37.3 dB as written, but 17.4 dB as .* saturate"):
        gates.require_unsaturated("int8.onnx", "y", run_db=17.4, exact_db=37.3)
