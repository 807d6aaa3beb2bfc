"""OpenVINO as a target: what is written is what was asked for, or it is an error that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import pytest

from deploytk.errors import InputError, ParityFailed
from deploytk.files import sha256_of, size_of
from deploytk.recipe import Recipe
from deploytk.runtimes import onnx as onnx_runtime
from deploytk.runtimes import openvino as runtime
from deploytk.targets import openvino
from deploytk.targets.openvino import guards

Feeds = Callable[[], Iterator[np.ndarray]]


def network(path: Path, outlier: float = 1.0) -> Path:
    """Three convolutions; one channel of the second is `outlier` times as large as the others, and hardly used."""
    random = np.random.default_rng(0)
    kernels = [random.normal(0, 0.3, (8, channels, 3, 3)).astype(np.float32) for channels in (3, 8, 8)]
    kernels[1][0] *= outlier
    kernels[2][:, 0] /= outlier
    pads = {"pads": [1, 1, 1, 1]}
    convolutions = [
        ("Conv", "x w0 b", "a", pads), ("Relu", "a", "b1"),
        ("Conv", "b1 w1 b", "c", pads), ("Relu", "c", "d"),
        ("Conv", "d w2 b", "e", pads), ("Sigmoid", "e", "y"),
    ]  # fmt: skip
    constants = {
        "b": random.normal(0, 0.1, 8).astype(np.float32),
        **{f"w{i}": kernel for i, kernel in enumerate(kernels)},
    }
    names = ["/0/Conv", "/0/Relu", "/1/Conv", "/1/Relu", "/2/Conv", "/Sigmoid"]
    made = onnx_graphs.model(convolutions, constants=constants, shape=("batch", 3, 16, 16), names=names)
    onnx.save(made, path)
    return path


def images(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).random((count, 3, 16, 16), dtype=np.float32)


def feeds(count: int = 8) -> Feeds:
    return lambda: (image[None] for image in images(count))


def expected(path: Path, batch: int = 2) -> np.ndarray:
    session = onnx_runtime.open_session(path, batch=batch, threads=1)
    return next(iter(session.run({"x": images(batch)}).values()))


def noise(path: Path, converted: Path) -> float:
    wanted = expected(path)
    return float(np.abs(openvino.predictor(converted)(images(2)) - wanted).max())


@pytest.mark.parametrize(("precision", "kind", "most"), [("fp32", "f32", 1e-5), ("fp16", "f16", 1e-2)])
def test_a_float_ir_computes_what_the_onnx_does_and_stores_weights_as_asked(
    tmp_path: Path, precision: str, kind: str, most: float
) -> None:
    source = network(tmp_path / "m.onnx")
    facts = openvino.convert(source, tmp_path / "m.xml", precision)
    assert facts["weights"][kind] >= 3 and facts["batch"] == "free"
    assert noise(source, tmp_path / "m.xml") < most
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.bin", "m.onnx", "m.xml"]
    assert facts["bytes"] == size_of(tmp_path / "m.xml") > (tmp_path / "m.xml").stat().st_size


def test_names_of_nodes_and_outputs_are_those_of_the_onnx(tmp_path: Path) -> None:
    openvino.convert(network(tmp_path / "m.onnx"), tmp_path / "m.xml", "fp32")
    written = (tmp_path / "m.xml").read_text()
    names = ("x", "/0/Conv/WithoutBiases", "/0/Conv", "/1/Relu", "/Sigmoid")
    assert [name for name in names if f'name="{name}"' not in written] == []
    assert [spec.name for spec in runtime.open_session(tmp_path / "m.xml", batch=None, threads=1).outputs] == ["y"]


def test_the_sha256_covers_the_weights(tmp_path: Path) -> None:
    openvino.convert(network(tmp_path / "m.onnx"), tmp_path / "m.xml", "fp32")
    before, weights = sha256_of(tmp_path / "m.xml"), tmp_path / "m.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert sha256_of(tmp_path / "m.xml") != before


def test_an_onnx_that_openvino_does_not_know_is_an_input_error(tmp_path: Path) -> None:
    made = onnx_graphs.model([("Frobnicate", "x", "y", {"domain": "com.example"})], domain="com.example")
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="Frobnicate"):
        openvino.convert(tmp_path / "m.onnx", tmp_path / "m.xml", "fp32")
    with pytest.raises(InputError, match="no such file"):
        openvino.convert(tmp_path / "none.onnx", tmp_path / "m.xml", "fp32")


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


def test_scores_that_became_one_value_are_a_failure() -> None:
    living = np.random.default_rng(0).random((1, 6, 10))
    collapsed = living.copy()
    collapsed[:, 4:] = 0
    guards.require_alive(Path("m.xml"), living, living)
    guards.require_alive(Path("m.xml"), collapsed, collapsed)
    with pytest.raises(ParityFailed, match="in INT8 all its scores are 0, whatever it sees"):
        guards.require_alive(Path("m.xml"), living, collapsed)
    with pytest.raises(ParityFailed, match="NaN"):
        guards.require_alive(Path("m.xml"), living, living * np.nan)


def test_accuracy_control_keeps_the_metric_and_says_what_it_is(tmp_path: Path) -> None:
    source, out = network(tmp_path / "m.onnx"), tmp_path / "m.xml"
    wanted = expected(source, 4)

    def validate(predict: Callable[[np.ndarray], np.ndarray]) -> float:
        return 1.0 - float(np.abs(predict(images(4)) - wanted).max())

    facts = openvino.with_accuracy_control(source, feeds(), validate, 0.05, out)
    assert facts["drop"] <= 0.05 and facts["quantized_ops"] > 0
    assert validate(openvino.predictor(out)) == pytest.approx(facts["metric"])


def test_accuracy_control_that_hands_back_a_float_model_is_a_failure(tmp_path: Path) -> None:
    calls = iter([1.0, 1.0, 0.0, *[0.0] * 100])

    def hopeless(_predict: Callable[[np.ndarray], np.ndarray]) -> float:
        return next(calls)

    with pytest.raises(ParityFailed):
        openvino.with_accuracy_control(network(tmp_path / "m.onnx"), feeds(), hopeless, 0.1, tmp_path / "m.xml")
