"""ONNX INT8: what becomes INT8, what stays, what it loses, and how it is repaired."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs
import pytest
import tiny_detector

from deploytk.errors import InputError, ParityFailed
from deploytk.graphs import onnx as graphs
from deploytk.recipe import Recipe
from deploytk.targets import onnx as target
from deploytk.targets.onnx import preparing, schemes
from deploytk.targets.onnx.scope import scope


def quantized(folder: Path, model: Path, **recipe: Any) -> dict[str, Any]:
    facts: dict[str, Any] = target.quantize_graph(model, tiny_detector.feeds, folder / "int8.onnx", Recipe(**recipe))
    return facts


def test_the_convolutions_become_int8_and_the_decoding_stays_float(tmp_path: Path) -> None:
    facts = quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"))
    made = graphs.read(tmp_path / "int8.onnx")
    assert (facts["calibration_images"], facts["quantized_ops"], facts["float_ops"]) == (4, 4, 0)
    assert facts["precision"] == "int8"
    assert [made.makers[t].op for t in made.makers["conf"].inputs] == ["Reshape"]
    assert facts["outputs_sqnr_db"]["y"] > 30
    assert facts["peak_rss_mb"] > 0


def test_names_batch_axis_and_metadata_stay(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "deploytk.arch", "tiny"
    onnx.save(model, path)
    quantized(tmp_path, path)
    made = graphs.read(tmp_path / "int8.onnx")
    assert {"c1", "c2", "boxes", "scores"} <= {n.name for n in made.nodes}
    assert (made.inputs[0].name, made.batch, made.outputs[0].name) == ("x", None, "y")
    assert "deploytk.arch" in {m.key for m in onnx.load(tmp_path / "int8.onnx").metadata_props}


def test_the_predictor_runs_both_files_alike(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    quantized(tmp_path, path)
    images = np.concatenate(list(tiny_detector.feeds()))
    expected, got = target.predictor(path)(images), target.predictor(tmp_path / "int8.onnx")(images)
    assert got.shape == (4, 6, 256)
    np.testing.assert_allclose(got[:, 4:], expected[:, 4:], atol=0.05)


def test_kept_nodes_stay_float_and_take_their_activations_with_them(tmp_path: Path) -> None:
    facts = quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"), float_nodes=("c2", "scores"))
    made = graphs.read(tmp_path / "int8.onnx")
    assert facts["float_nodes"] == ["c2", "scores"]
    assert facts["precision"] == "int8 (2 of 4 weighted operators), float32 (2)"
    assert made.makers["a2"].inputs == ("t2",)  # the Relu of the kept convolution is still there, and in float


def test_a_node_that_is_not_there_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no node 'score' to keep in float; did you mean 'scores'"):
        quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"), float_nodes=("score",))


def test_nothing_in_int8_fails(tmp_path: Path) -> None:
    with pytest.raises(ParityFailed, match="no operator is in INT8"):
        quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"), float_nodes=("c1", "c2", "boxes", "scores"))
    assert not (tmp_path / "int8.onnx").exists()


def test_a_model_built_to_break_int8_is_seen_and_the_layers_named(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx", outlier=1000.0)
    found = target.sensitivities(path, tiny_detector.feeds, images=2)
    assert {one["node"] for one in found[:2]} == {"c1", "c2"}
    assert [one["op"] for one in found] == ["Conv"] * 4
    assert found[1]["sqnr_db"] < found[2]["sqnr_db"] - 15
    facts = quantized(tmp_path, path)
    assert facts["outputs_sqnr_db"]["y"] < 20
    assert facts["worst_layers"][0]["node"] in {"c2", "r2", "boxes", "scores"}


@pytest.mark.parametrize("recipe", [{"correction": "smooth_quant"}, {"float_nodes": ("c1", "c2")}])
def test_smooth_quant_repairs_it_and_so_does_float(tmp_path: Path, recipe: dict[str, Any]) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx", outlier=1000.0)
    facts = quantized(tmp_path, path, **recipe)
    assert facts["outputs_sqnr_db"]["y"] > quantized(tmp_path, path)["outputs_sqnr_db"]["y"] + 15


def test_smooth_quant_reaches_through_a_depthwise_convolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    first[2] *= 500
    depth, last = rng.normal(size=(4, 1, 3, 3)).astype(np.float32), rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    last[:, 2] /= 500
    nodes = [
        ("Conv", "x w1", "t1"),
        ("Relu", "t1", "a1"),
        ("Conv", "a1 w2", "t2", {"group": 4}),
        ("Conv", "t2 w3", "y"),
    ]
    constants = {"w1": first, "w2": depth, "w3": last}
    onnx.save(onnx_graphs.model(nodes, constants=constants, shape=("n", 3, 16, 16)), tmp_path / "m.onnx")
    plain = quantized(tmp_path, tmp_path / "m.onnx")
    smooth = quantized(tmp_path, tmp_path / "m.onnx", correction="smooth_quant")
    assert smooth["corrected_ops"] == 2
    assert smooth["outputs_sqnr_db"]["y"] > plain["outputs_sqnr_db"]["y"] + 10


def test_bias_correction_takes_the_mean_shift_out(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx", outlier=20.0)

    def shift(**recipe: Any) -> float:
        facts = quantized(tmp_path, path, **recipe)
        images = np.concatenate(list(tiny_detector.feeds()))
        expected, got = target.predictor(path)(images), target.predictor(tmp_path / "int8.onnx")(images)
        assert facts["corrected_ops"] == (4 if recipe else 0)
        return float(np.abs((got - expected)[:, :4].mean(axis=(0, 2))).max())

    assert shift(correction="fast_bias") < shift() / 2


def test_a_percentile_recipe_is_calibrated_by_percentile(tmp_path: Path) -> None:
    facts = quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"), correction="percentile")
    assert (facts["correction"], facts["calibration_images"]) == ("percentile", 4)
    assert facts["outputs_sqnr_db"]["y"] > 30


def test_s8s8_on_demand(tmp_path: Path) -> None:
    facts = quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"), scheme="s8s8")
    assert facts["scheme"].startswith("s8s8, weights of ")
    assert facts["outputs_sqnr_db"]["y"] > 30


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx"))
    with pytest.raises(InputError, match="is quantized already"):
        target.quantize_graph(tmp_path / "int8.onnx", tiny_detector.feeds, tmp_path / "twice.onnx", Recipe())


@pytest.mark.parametrize(
    ("options", "said"), [({"opset": 11}, "opset 11 has no per-channel INT8"), ({"batch": 2}, "fixed at 2")]
)
def test_a_model_that_cannot_be_quantized_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        quantized(tmp_path, tiny_detector.write(tmp_path / "m.onnx", **options))


def test_batch_normalization_is_folded_and_shared_biases_part(tmp_path: Path) -> None:
    ones, weight = np.ones(3, np.float32), np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
    nodes = [
        ("Conv", "x w b", "c"),
        ("BatchNormalization", "c scale b mean var", "n"),
        ("Conv", "n w b", "y"),
    ]
    constants = {"w": weight, "b": ones, "scale": ones * 2, "mean": ones / 2, "var": ones * 3}
    onnx.save(onnx_graphs.model(nodes, constants=constants, names=("one", "bn", "two")), tmp_path / "m.onnx")
    _, graph = preparing.prepared(tmp_path / "m.onnx", tmp_path / "f.onnx")
    assert [(n.op, n.name) for n in graph.nodes] == [("Conv", "one"), ("Conv", "two")]
    assert not set(graph.nodes[0].inputs[1:]) & set(graph.nodes[1].inputs[1:])
    image = np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32)
    got, expected = (target.predictor(tmp_path / name)(image) for name in ("f.onnx", "m.onnx"))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_distribution_summed_by_a_convolution_is_decoding(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
    dfl = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    nodes = [("Conv", "x w", "c"), ("Softmax", "c", "s", {"axis": 1}), ("Conv", "s dfl", "y")]
    found = scope(onnx_graphs.graph(tmp_path, nodes, constants={"w": weight, "dfl": dfl}))
    assert (found.weighted, found.boundary) == (("Conv_0",), ("c",))


def test_without_vnni_weights_have_7_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, sums in (("avx2 fma", False), ("avx2 avx512_vnni", True), ("amx_int8", True)):
        (tmp_path / "cpuinfo").write_text(f"model name: some\nflags\t\t: fpu {flags}\n")
        assert schemes.sums_exactly(tmp_path / "cpuinfo") is sums
    assert not schemes.sums_exactly(tmp_path / "none")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for sums, told in ((False, "u8s8, weights of 7 bits"), (True, "u8s8, weights of 8 bits")):
        monkeypatch.setattr(schemes, "sums_exactly", lambda sums=sums: sums)
        assert schemes.types("auto").told == told
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert schemes.types("s8s8").told == "s8s8, weights of 8 bits"
