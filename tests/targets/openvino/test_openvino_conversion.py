"""An IR is what was asked for: the same outputs, names and batch, and the weights in the precision that was said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import pytest
from small_network import network, noise

from deploytk.errors import InputError, ParityFailed
from deploytk.files import sha256_of, size_of
from deploytk.runtimes import openvino as runtime
from deploytk.targets import openvino
from deploytk.targets.openvino import guards


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
    with pytest.raises(InputError, match=r"OpenVINO cannot convert it: .*Frobnicate"):
        openvino.convert(tmp_path / "m.onnx", tmp_path / "m.xml", "fp32")
    with pytest.raises(InputError, match=r"none\.onnx: cannot be read"):
        openvino.convert(tmp_path / "none.onnx", tmp_path / "m.xml", "fp32")


def test_scores_that_became_one_value_are_a_failure() -> None:
    living = np.random.default_rng(0).random((1, 6, 10))
    collapsed = living.copy()
    collapsed[:, 4:] = 0
    guards.require_alive(Path("m.xml"), living, living)
    guards.require_alive(Path("m.xml"), collapsed, collapsed)
    with pytest.raises(ParityFailed, match=r"m\.xml: in INT8 every value is 0 where the source's go from"):
        guards.require_alive(Path("m.xml"), living, collapsed)
    with pytest.raises(ParityFailed, match="NaN"):
        guards.require_alive(Path("m.xml"), living, living * np.nan)
