"""ONNX files are read as nodes with shapes and sections; what is no ONNX gives one clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import WEIGHT, graph, model

from deploytk.errors import InputError
from deploytk.graphs import onnx as graphs
from deploytk.rules import activations_onnx, ethos_u

CONV = ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]})
NODES = [CONV, ("Relu", "c", "y")]


def test_a_graph_is_read_with_shapes_and_specs(tmp_path: Path) -> None:
    made = graph(tmp_path, NODES, constants={"w": WEIGHT}, shape=("batch", 3, 8, 8))
    assert [n.op for n in made.nodes] == ["Conv", "Relu"]
    assert made.nodes[0].attributes["pads"] == (1, 1, 1, 1)
    assert made.shape("c") == ("batch", 3, 8, 8)
    assert made.inputs[0].dtype == "float32"
    assert made.batch is None
    assert not made.quantized
    assert graph(tmp_path, NODES, constants={"w": WEIGHT}, shape=(2, 3, 8, 8)).batch == 2


def test_sections_are_told_from_module_paths(tmp_path: Path) -> None:
    nodes = [CONV, ("Resize", "c e s", "r"), ("Relu", "r", "n"), ("Relu", "n", "y")]
    names = ["/model.0/conv/Conv", "/model.1/Resize", "/model.2/act/Relu", "/model.3/act/Relu"]
    more = {"w": WEIGHT, "e": np.float32([]), "s": np.float32([1, 1, 2, 2])}
    assert [n.section for n in graph(tmp_path, nodes, constants=more, names=names).nodes] == [
        "backbone", "neck", "neck", "head",
    ]  # fmt: skip


def test_sections_are_told_from_the_wiring_where_names_say_nothing(tmp_path: Path) -> None:
    nodes = [
        CONV, ("Resize", "c e s", "r"), ("Relu", "r", "n"), ("Relu", "n", "y"), ("Sigmoid", "n", "z"),
    ]  # fmt: skip
    more = {"w": WEIGHT, "e": np.float32([]), "s": np.float32([1, 1, 2, 2])}
    made = graph(tmp_path, nodes, constants=more, outputs=("y", "z"))
    assert [n.section for n in made.nodes] == ["backbone", "neck", "neck", "head", "head"]


def test_quantization_and_custom_domains_are_seen(data_dir: Path) -> None:
    made = graphs.read(data_dir / "mlperf_tiny_qdq_onnx/ic/K1_BOARD_V1.0/models/resnet.onnx")
    assert made.quantized
    assert made.quantized_ops == {"DequantizeLinear": 35, "QuantizeLinear": 15}
    [path] = (data_dir / "ort_examples").rglob("*superresolution*.onnx")
    assert graphs.read(path).custom_domains == {"com.microsoft.extensions": ("DecodeImage", "EncodeImage")}


def test_weights_that_are_listed_as_inputs_are_no_inputs(data_dir: Path) -> None:
    assert [t.name for t in graphs.read(data_dir / "onnx_light/light/light_resnet50.onnx").inputs] == ["gpu_0/data_0"]


def refused(folder: Path, data: bytes) -> str:
    path = folder / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        graphs.read(path)
    return caught.value.message


def test_what_is_no_onnx_is_named(tmp_path: Path) -> None:
    assert "truncated" in refused(tmp_path, model(NODES, constants={"w": WEIGHT}).SerializeToString()[:-40])
    assert "without an ONNX graph" in refused(tmp_path, onnx.ModelProto(ir_version=8).SerializeToString())
    no_opset = model(NODES, constants={"w": WEIGHT})
    del no_opset.opset_import[:]
    assert "names no opset" in refused(tmp_path, no_opset.SerializeToString())
    garbled = model([("Relu", "x", "y")]).SerializeToString().replace(b"Relu_0", b"Relu\xff0")
    assert "a name in it is no text" in refused(tmp_path, garbled)
    lost = model([("Relu", "q", "y")])
    assert "reads 'q', which nothing before it makes" in refused(tmp_path, lost.SerializeToString())
    twice = model([("Relu", "x", "y"), ("Relu", "y", "y")])
    assert "a second time" in refused(tmp_path, twice.SerializeToString())


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    made = model(NODES, constants={"w": WEIGHT})
    onnx.save(made, tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert graphs.read(tmp_path / "e.onnx").nodes
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match=r"weights stand in 'w\.bin', which is not there"):
        graphs.read(tmp_path / "e.onnx")


def test_a_place_of_weights_that_is_no_text_is_damage(tmp_path: Path) -> None:
    made = model(NODES, constants={"w": WEIGHT})
    onnx.save(made, tmp_path / "e.onnx", save_as_external_data=True, location="place.bin", size_threshold=0)
    content = (tmp_path / "e.onnx").read_bytes()
    (tmp_path / "e.onnx").write_bytes(content.replace(b"place.bin", b"\xff\xfe\xfd" + b"ce.bin"))
    with pytest.raises(InputError, match="damaged: a name in it is no text"):
        graphs.read(tmp_path / "e.onnx")


def test_the_nodes_of_a_function_stand_in_its_place(tmp_path: Path) -> None:
    made = model([("Twice", "x", "y", {"domain": "own"})], domain="own")
    body = [helper.make_node("Sin", ["a"], ["b"]), helper.make_node("Cos", ["b"], ["c"])]
    made.functions.append(helper.make_function("own", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 17)]))
    onnx.save(made, tmp_path / "f.onnx")
    # In a process of its own: whatever has imported onnx.inliner before would hide that this file must.
    code = "import sys; from pathlib import Path; from deploytk.graphs import onnx; g = onnx.read(Path(sys.argv[1]))"
    argv = [sys.executable, "-c", f"{code}; print([n.op for n in g.nodes], g.inlined)", str(tmp_path / "f.onnx")]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "['Sin', 'Cos'] True"
    onnx.save(model(NODES, constants={"w": WEIGHT}), tmp_path / "f.onnx")
    assert not graphs.read(tmp_path / "f.onnx").inlined


DATA = model([*NODES[:1], ("Sigmoid", "c", "s"), ("Mul", "c s", "y")], constants={"w": WEIGHT}).SerializeToString()


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, len(DATA)), at=st.integers(0, len(DATA) - 1), byte=st.integers(0, 255))
def test_any_damage_is_an_input_error_or_a_graph(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "m.onnx"
    path.write_bytes((DATA[:at] + bytes([byte]) + DATA[at + 1 :])[:cut])
    try:
        made = graphs.read(path)
    except InputError:
        return
    activations_onnx.find(made)
    ethos_u.predict(made, "u55")
