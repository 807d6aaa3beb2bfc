"""INT8 for TensorRT: zero points are zero, biases are float, the rest is float16, and it is run as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_detector
from onnx import TensorProto

from deploytk.errors import ParityFailed
from deploytk.recipe import Correction, Recipe
from deploytk.runtimes import onnx as on_cpu
from deploytk.targets import onnx as float_target
from deploytk.targets import tensorrt as target
from deploytk.targets.onnx import protos
from deploytk.targets.onnx.scope import WEIGHTED


def quantized(folder: Path, **recipe: Any) -> tuple[dict[str, Any], Any]:
    path = tiny_detector.write(folder / "m.onnx")
    facts = target.quantize_graph(path, tiny_detector.feeds, folder / "int8.onnx", Recipe(**recipe))
    return facts, onnx.load(folder / "int8.onnx")


def test_each_weighted_operator_reads_symmetric_int8_and_a_float16_bias(tmp_path: Path) -> None:
    facts, model = quantized(tmp_path)
    weights, makers = protos.weights(model), protos.makers(model)
    weighted = [n for n in model.graph.node if n.op_type in WEIGHTED]
    assert facts["quantized_ops"] == len(weighted) == 4
    for node in weighted:
        image, kernel = makers[node.input[0]], makers[node.input[1]]
        assert (image.op_type, kernel.op_type) == ("DequantizeLinear", "DequantizeLinear")
        for restoring in (image, kernel):
            assert not protos.array(weights[restoring.input[2]]).any()
        assert weights[kernel.input[0]].data_type == TensorProto.INT8
        assert [weights[bias].data_type for bias in node.input[2:]] in ([], [TensorProto.FLOAT16])
    per_channel = protos.array(weights[makers[weighted[0].input[1]].input[1]])
    assert per_channel.ndim == 1
    assert per_channel.dtype == np.float16


def test_what_an_operator_gives_is_not_rounded_before_its_activation(tmp_path: Path) -> None:
    _, model = quantized(tmp_path)
    readers = protos.readers(model)
    for node in (n for n in model.graph.node if n.op_type in WEIGHTED):
        assert "QuantizeLinear" not in {reader.op_type for reader in readers.get(node.output[0], [])}


@pytest.mark.parametrize("correction", ["none", "fast_bias", "percentile", "smooth_quant"])
def test_every_rung_of_the_ladder_keeps_the_answers(tmp_path: Path, correction: Correction) -> None:
    facts, _ = quantized(tmp_path, correction=correction)
    assert facts["correction"] == correction
    assert facts["outputs_sqnr_db"]["y"] > 25
    images = np.concatenate(list(tiny_detector.feeds()))
    expected, got = (
        float_target.predictor(tmp_path / "m.onnx")(images),
        target.predictor(tmp_path / "int8.onnx")(images),
    )
    np.testing.assert_allclose(got[:, 4:], expected[:, 4:], atol=0.05)


def test_a_layer_that_is_kept_in_float_is_float16(tmp_path: Path) -> None:
    facts, model = quantized(tmp_path, float_nodes=("c1",))
    assert (facts["float_ops"], facts["float_nodes"]) == (1, ["c1"])
    kept = protos.nodes(model)["c1"]
    assert protos.weights(model)[kept.input[1]].data_type == TensorProto.FLOAT16


def test_nothing_in_int8_is_no_int8_model(tmp_path: Path) -> None:
    names = tuple(
        n.name for n in onnx.load(tiny_detector.write(tmp_path / "t.onnx")).graph.node if n.op_type in WEIGHTED
    )
    with pytest.raises(ParityFailed, match="no operator is in INT8"):
        quantized(tmp_path, float_nodes=names)
    assert not (tmp_path / "int8.onnx").exists()


def test_the_answers_are_those_of_the_model_as_written(tmp_path: Path) -> None:
    """With its optimisations ONNX Runtime rounds the float16 biases, and what comes out is another model's."""
    quantized(tmp_path)
    image = next(tiny_detector.feeds())
    session = on_cpu.open_session(tmp_path / "int8.onnx", batch=1, threads=1, options=target.AS_WRITTEN)
    assert session.details["graph_optimization"] == "ORT_DISABLE_ALL"
    np.testing.assert_array_equal(session.run({"x": image})["y"], target.predictor(tmp_path / "int8.onnx")(image))
