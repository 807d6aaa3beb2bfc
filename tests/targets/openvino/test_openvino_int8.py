"""INT8 by NNCF: it computes in INT8 and close to the float model, or it is an error that says why."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small_network import expected, feeds, images, network, noise

from deploytk.errors import InputError, ParityFailed
from deploytk.recipe import Recipe
from deploytk.targets import openvino

# Importing NNCF takes ten seconds.
pytestmark = pytest.mark.e2e

Predict = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize("correction", ["none", "percentile", "smooth_quant", "fast_bias"])
def test_int8_computes_in_int8_close_to_the_float_model(tmp_path: Path, correction: str) -> None:
    source = network(tmp_path / "m.onnx")
    facts = openvino.quantize_graph(source, feeds(), tmp_path / "m.xml", Recipe(correction=correction))
    assert (facts["calibration_images"], facts["quantized_ops"], facts["float_ops"]) == (8, 3, 0)
    assert facts["correction"] == correction and facts["quantizers"] >= 3
    assert 0 < noise(source, tmp_path / "m.xml") < 0.1


def test_a_node_stays_in_float_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    source, out = network(tmp_path / "m.onnx"), tmp_path / "m.xml"
    facts = openvino.quantize_graph(source, feeds(), out, Recipe(float_nodes=("/1/Conv",)))
    assert (facts["quantized_ops"], facts["float_ops"]) == (2, 1)
    with pytest.raises(InputError, match=r"no node '/1/Cnv' to keep in float; did you mean '/1/Conv'"):
        openvino.quantize_graph(source, feeds(), out, Recipe(float_nodes=("/1/Cnv",)))


def test_with_every_node_in_float_it_is_no_int8_model(tmp_path: Path) -> None:
    recipe = Recipe(float_nodes=("/0/Conv", "/1/Conv", "/2/Conv"))
    with pytest.raises(ParityFailed, match="no tensor of it is quantized"):
        openvino.quantize_graph(network(tmp_path / "m.onnx"), feeds(), tmp_path / "m.xml", recipe)


def test_calibration_inputs_must_be_there_and_fit(tmp_path: Path) -> None:
    source, out = network(tmp_path / "m.onnx"), tmp_path / "m.xml"
    with pytest.raises(InputError, match="was given none"):
        openvino.quantize_graph(source, feeds(0), out, Recipe())
    with pytest.raises(InputError, match=r"must be finite float32 .*, not float64 \[1, 3, 16, 16\]"):
        openvino.quantize_graph(source, lambda: iter([images(1).astype(np.float64)]), out, Recipe())


def test_an_outlier_channel_is_found_by_its_layer_and_repaired_in_float(tmp_path: Path) -> None:
    source = network(tmp_path / "m.onnx", outlier=1000.0)
    worst, *others = openvino.sensitivities(source, feeds(), images=2)
    assert worst["node"] == "/2/Conv" and worst["sqnr_db"] < min(row["sqnr_db"] for row in others) - 10
    assert {row["node"] for row in others} == {"/0/Conv", "/1/Conv"}
    out = tmp_path / "m.xml"
    openvino.quantize_graph(source, feeds(), out, Recipe())
    broken = noise(source, out)
    openvino.quantize_graph(source, feeds(), out, Recipe(float_nodes=(worst["node"],)))
    assert noise(source, out) < broken / 5


def test_an_outlier_channel_is_repaired_by_smoothing(tmp_path: Path) -> None:
    source, out = network(tmp_path / "m.onnx", outlier=1000.0), tmp_path / "m.xml"
    noises = []
    for correction in ("none", "smooth_quant"):
        openvino.quantize_graph(source, feeds(), out, Recipe(correction=correction))
        noises.append(noise(source, out))
    assert noises[1] < noises[0] / 5


def test_accuracy_control_puts_operators_back_into_float_until_the_metric_is_kept(tmp_path: Path) -> None:
    source, out = network(tmp_path / "m.onnx", outlier=30.0), tmp_path / "m.xml"
    wanted = expected(source, 4)

    def validate(predict: Predict) -> float:
        return 1.0 - float(np.abs(predict(images(4)) - wanted).max())

    openvino.quantize_graph(source, feeds(), out, Recipe())
    assert validate(openvino.predictor(out)) < 0.95
    facts = openvino.with_accuracy_control(source, feeds(), validate, 0.05, out)
    # The harmful operator alone goes back to float, not the harmless ones before it.
    assert facts["drop"] <= 0.05 and (facts["quantized_ops"], facts["float_ops"]) == (2, 1)
    assert validate(openvino.predictor(out)) == pytest.approx(facts["metric"])


def test_accuracy_control_that_hands_back_a_float_model_is_a_failure(tmp_path: Path) -> None:
    source = network(tmp_path / "m.onnx")
    wanted = expected(source, 4)

    def exact(predict: Predict) -> float:
        return float(np.abs(predict(images(4)) - wanted).max() < 1e-5)

    with pytest.raises(ParityFailed, match="no tensor of it is quantized: it is a float model"):
        openvino.with_accuracy_control(source, feeds(), exact, 0.1, tmp_path / "m.xml")


def test_accuracy_control_that_missed_its_target_is_a_failure_not_a_line_in_a_log(tmp_path: Path) -> None:
    source = network(tmp_path / "m.onnx")
    metrics = iter([0.8, 0.8, 0.8, 0.5])  # the float and the INT8 model for NNCF, then both again

    with pytest.raises(ParityFailed, match=r"ended at 0\.5000, 0\.3000 below the float model's 0\.8000"):
        openvino.with_accuracy_control(source, feeds(), lambda _: next(metrics), 0.1, tmp_path / "m.xml")


def test_calibration_keeps_no_image(tmp_path: Path) -> None:
    source, alive = network(tmp_path / "m.onnx"), [0]

    def stream() -> Iterator[np.ndarray]:
        held = weakref.WeakValueDictionary[int, np.ndarray]()
        for i in range(40):
            image = images(1) * (i + 1)
            held[i] = image
            yield image
            alive.append(len(held))

    openvino.quantize_graph(source, stream, tmp_path / "m.xml", Recipe(correction="percentile"))
    assert max(alive) < 8
