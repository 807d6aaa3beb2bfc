"""Each rule passes a graph that Ethos-U takes and fails one that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_graphs import WEIGHT, graph

from deploytk.rules import __main__ as table
from deploytk.rules import ethos_u
from deploytk.rules.ethos_u_ops import FREE, SUPPORTED, TFLITE, Family, family_of
from deploytk.rules.ethos_u_rules import RULES

DEPTHWISE = np.zeros((3, 1, 3, 3), np.float32)
EMPTY = np.float32([])


def conv(weight: Any = WEIGHT, **attributes: Any) -> dict[str, Any]:
    return {"nodes": [("Conv", "x w", "c", attributes), ("Relu", "c", "y")], "constants": {"w": weight}}


def one(op: str, ins: str = "x", constants: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    options = {k: more.pop(k) for k in ("shape", "dtype", "opset", "domain") if k in more}
    return {"nodes": [("Relu", "x", "r"), (op, ins.replace("x", "r", 1), "y", more)], "constants": constants, **options}


def resize(scale: float, mode: str = "nearest", **more: Any) -> dict[str, Any]:
    sizes = {"e": EMPTY, "s": np.float32([1, 1, scale, scale])}
    return one("Resize", "x e s", sizes, mode=mode, **more)


#: rule -> (options of a graph that passes, of one that fails)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "EU001": (one("Sigmoid"), one("Sin")),
    "EU002": (one("Relu"), {**one("Work", domain="my.ops"), "nodes": [("Work", "x", "y", {"domain": "my.ops"})]}),
    "EU003": (conv(strides=[4, 4]), conv(strides=[4, 4], pads=[1, 1, 1, 1])),
    "EU004": (conv(DEPTHWISE, group=3, strides=[3, 3]), conv(DEPTHWISE, group=3, strides=[4, 4])),
    "EU005": (
        one("MaxPool", kernel_shape=[256, 2], shape=(1, 3, 300, 300)),
        one("MaxPool", kernel_shape=[257, 2], shape=(1, 3, 300, 300)),
    ),
    "EU006": (
        one("AveragePool", kernel_shape=[9, 9], shape=(1, 3, 32, 32)),
        one("AveragePool", kernel_shape=[9, 9], pads=[1, 1, 1, 1], shape=(1, 3, 32, 32)),
    ),
    "EU007": (one("MaxPool", kernel_shape=[2, 2]), one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])),
    "EU008": (
        one("ConvTranspose", "x w", {"w": WEIGHT}, strides=[2, 2]),
        one("ConvTranspose", "x w", {"w": WEIGHT}, strides=[4, 4]),
    ),
    "EU009": (resize(2), resize(2, "cubic")),
    "EU010": (resize(4), resize(3)),
    "EU011": (one("Softmax", shape=(1, 3, 8, 8), axis=1), one("Softmax", shape=(1, 3, 256, 256), axis=1)),
    "EU012": (one("ArgMax", axis=1, shape=(1, 100, 8, 8)), one("ArgMax", axis=1, shape=(1, 200, 8, 8))),
    "EU013": (one("GlobalAveragePool"), one("GlobalAveragePool", shape=(1, 3, 4096, 2))),
    "EU014": (one("GlobalAveragePool"), one("GlobalAveragePool", shape=(2, 3, 8, 8))),
    "EU015": (one("Relu", shape=("batch", 3, 8, 8)), one("Relu", shape=(1, 3, "h", "w"))),
    "EU016": (one("Relu"), {"nodes": [("Cast", "x", "y", {"to": TensorProto.FLOAT})], "dtype": TensorProto.DOUBLE}),
    "EU017": (conv(), {**conv(np.zeros((3, 3, 3, 3, 3), np.float32)), "shape": (1, 3, 8, 8, 8)}),
    "EU018": (
        one("Conv", "x w b", {"w": WEIGHT, "b": np.zeros(3, np.float32)}),
        {
            "nodes": [("GlobalAveragePool", "x", "p"), ("Squeeze", "p", "b"), ("Conv", "x w b", "y")],
            "constants": {"w": WEIGHT},
        },
    ),
    "EU019": (
        one("Transpose", perm=[0, 2, 3, 1]),
        one("Transpose", perm=list(range(9)), shape=(1,) * 9),
    ),
    "EU020": (
        one("MatMul", "x r", shape=(1, 1, 8, 8)),
        {"nodes": [("Transpose", "x", "t", {"perm": [0, 2, 1]}), ("MatMul", "x t", "y")], "shape": (1, 2, 70000)},
    ),
}  # fmt: skip


def codes(folder: Path, family: Family = "u55", **options: Any) -> set[str]:
    return {f.rule for f, _ in ethos_u.predict(graph(folder, **options), family)}


@pytest.mark.parametrize("code", CASES)
def test_a_rule_passes_one_graph_and_fails_another(tmp_path: Path, code: str) -> None:
    good, bad = CASES[code]
    assert code not in codes(tmp_path, **good)
    assert code in codes(tmp_path, **bad)


def test_every_rule_has_its_case_and_a_sentence() -> None:
    assert [r.code for r in RULES] == sorted(CASES)
    assert all((r.__doc__ or "").endswith(".") and r.fix for r in RULES)


def test_a_finding_names_the_node_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    [(finding, nodes)] = ethos_u.predict(graph(tmp_path, **CASES["EU008"][1]), "u55")
    assert nodes == ("ConvTranspose_1",)
    assert finding.where == "ConvTranspose_1 (ConvTranspose)"
    assert "strides are 4 x 4" in finding.message
    assert finding.fix


def test_u85_takes_what_u55_does_not(tmp_path: Path) -> None:
    stride = CASES["EU003"][1]
    assert codes(tmp_path, "u55", **stride) == {"EU003"}
    assert codes(tmp_path, "u85", **stride) == set()


def test_a_division_by_a_constant_becomes_a_product(tmp_path: Path) -> None:
    assert codes(tmp_path, **one("Div", "x two", {"two": 2.0})) == set()
    assert codes(tmp_path, **one("Div", "x r")) == {"EU001"}


def test_arithmetic_on_shapes_is_not_placed(tmp_path: Path) -> None:
    nodes = [("Shape", "x", "s"), ("Gather", "s i", "g"), ("Sin", "x", "y")]
    found = ethos_u.predict(graph(tmp_path, nodes, constants={"i": np.int64([0])}), "u55")
    assert [names for _, names in found] == [("Sin_2",)]


def test_the_tables_are_those_of_the_installed_vela() -> None:
    regor = pytest.importorskip("ethosu.regor")
    for family, name in (("u55", "EthosU55"), ("u65", "EthosU65"), ("u85", "EthosU85")):
        told = {"ARG_MAX" if op == "ARGMAX" else op for op in regor.tflite_operator_constraints(name)}
        assert SUPPORTED[family] == told


def test_the_limits_quoted_are_those_of_the_installed_vela() -> None:
    regor = pytest.importorskip("ethosu.regor")
    told = {op: " ".join(lines) for op, lines in regor.tflite_operator_constraints("EthosU55").items()}
    assert "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)" in told["CONV_2D"]
    assert "Kernel stride must be in the range (1,3)" in told["DEPTHWISE_CONV_2D"]
    assert "256*256" in told["MAX_POOL_2D"]
    assert "less than or equal to 8" in told["AVERAGE_POOL_2D"]
    assert "one of: 2x/4x/8x" in told["RESIZE_NEAREST_NEIGHBOR"]
    assert "must be less than 65536" in told["SOFTMAX"]
    assert "less than or equal to 127" in told["ARGMAX"]
    assert "less than 4096" in told["MEAN"]


def test_every_converter_target_is_a_real_operator() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    known = {name for name in vars(schema.BuiltinOperator) if name.isupper()}
    assert {t for targets in TFLITE.values() for t in targets} <= known
    assert not FREE & set(TFLITE)


def test_the_family_is_read_from_the_accelerator() -> None:
    assert family_of("ethos-u85-256") == "u85"
    with pytest.raises(ValueError, match="no Ethos-U"):
        family_of("hexagon")


def test_the_table_of_rules_in_the_docs_is_up_to_date() -> None:
    docs = Path(__file__).parents[2] / "docs" / "rules.md"
    assert docs.read_text(encoding="utf-8") == table.table(), "run: python -m deploytk.rules docs/rules.md"
    assert "ACT001" in table.table()
