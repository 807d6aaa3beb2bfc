"""An ONNX in float16 or bfloat16: what has weights is, decoding is not, and it answers as the float32 one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_detector
import tiny_onnx
from onnx import TensorProto, helper, numpy_helper

from deploytk.errors import InputError
from deploytk.graphs import onnx as graphs
from deploytk.runtimes import onnx as runtime
from deploytk.targets import onnx as on_cpu
from deploytk.targets import tensorrt as target
from deploytk.targets.onnx import protos
from deploytk.targets.tensorrt import floats


def images() -> np.ndarray:
    return np.concatenate(list(tiny_detector.feeds()))


def sqnr_db(expected: np.ndarray, got: np.ndarray) -> float:
    return float(20 * np.log10(np.linalg.norm(expected) / np.linalg.norm(expected - got)))


@pytest.mark.parametrize(("precision", "word", "least_db"), [("fp16", "float16", 50), ("bf16", "bfloat16", 30)])
def test_what_has_weights_is_in_half_and_the_answers_stay(
    tmp_path: Path, precision: floats.Half, word: str, least_db: float
) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    facts = target.typed(path, tmp_path / "half.onnx", precision)
    assert facts["weighted"] == {word: 4}
    made = graphs.read(tmp_path / "half.onnx")
    assert (made.inputs[0].dtype, made.outputs[0].dtype, made.batch) == ("float32", "float32", None)
    expected, got = on_cpu.predictor(path)(images()), target.predictor(tmp_path / "half.onnx")(images())
    assert least_db < sqnr_db(expected, got) < 200


def test_bfloat16_is_looked_at_through_a_float32_model_that_rounds(tmp_path: Path) -> None:
    target.typed(tiny_detector.write(tmp_path / "m.onnx"), tmp_path / "half.onnx", "bf16")
    folder = tmp_path / "there"
    folder.mkdir()
    stand_in = target.readable(tmp_path / "half.onnx", folder)
    kinds = {tensor.data_type for tensor in onnx.load(stand_in).graph.initializer}
    assert TensorProto.BFLOAT16 not in kinds
    answers = runtime.open_session(stand_in, batch=None, threads=1).run({"x": images()})["y"]
    np.testing.assert_array_equal(answers, target.predictor(tmp_path / "half.onnx")(images()))


def test_what_runs_here_is_looked_at_itself(tmp_path: Path) -> None:
    target.typed(tiny_detector.write(tmp_path / "m.onnx"), tmp_path / "half.onnx", "fp16")
    assert target.readable(tmp_path / "half.onnx", tmp_path) == tmp_path / "half.onnx"


def test_the_decoding_stays_in_float32_from_end_to_end(tmp_path: Path) -> None:
    """ONNX Runtime's converter puts a cast to float16 and back between two float32 nodes: they are taken out."""
    path = tiny_detector.write(tmp_path / "m.onnx")
    facts = target.typed(path, tmp_path / "half.onnx", "fp16")
    model = onnx.load(tmp_path / "half.onnx")
    narrowing = [n for n in model.graph.node if n.op_type == "Cast" and n.attribute[0].i == TensorProto.FLOAT16]
    assert [n.input[0] for n in narrowing] == ["x"]
    assert facts["float32_nodes"] > 0


def test_weights_become_bfloat16_from_float32_and_not_through_float16(tmp_path: Path) -> None:
    """Float16 ends at 65504, and has nothing below 6e-8; bfloat16 holds both."""
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    model = onnx.load(path)
    values = np.full((4, 3, 3, 3), 1e-9, np.float32)
    values[0] = 1e6
    protos.put(model.graph.initializer[0], values)
    onnx.save(model, path)
    target.typed(path, tmp_path / "half.onnx", "bf16")
    weight = onnx.load(tmp_path / "half.onnx").graph.initializer[0]
    assert weight.data_type == TensorProto.BFLOAT16
    np.testing.assert_allclose(protos.array(weight).astype(np.float32), values, rtol=2**-8)


def test_hard_swish_stays_in_float32_where_bfloat16_is_asked_for(tmp_path: Path) -> None:
    path = _hard_swish(tmp_path / "m.onnx")
    assert target.typed(path, tmp_path / "bf16.onnx", "bf16")["float32_nodes"] == 1
    assert target.typed(path, tmp_path / "fp16.onnx", "fp16")["float32_nodes"] == 0


def _hard_swish(path: Path) -> Path:
    """Conv, HardSwish, Conv at opset 17."""
    kernel = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node("HardSwish", ["a"], ["b"], name="swish"),
        helper.make_node("Conv", ["b", "w"], ["y"], name="second"),
    ]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph(nodes, "tiny", sides[:1], sides[1:], [kernel])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_model_that_is_quantized_already_is_refused(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    target.typed(path, tmp_path / "half.onnx", "fp16")
    on_cpu.quantize_graph(path, tiny_detector.feeds, tmp_path / "int8.onnx", on_cpu_recipe())
    with pytest.raises(InputError, match=r"int8.onnx: only a float32 model can be made fp16"):
        target.typed(tmp_path / "int8.onnx", tmp_path / "half.onnx", "fp16")


def on_cpu_recipe() -> object:
    from deploytk.recipe import Recipe

    return Recipe()
