"""Each rule of TensorRT passes a graph that it takes and fails one that it does not; the parser corrects the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_graphs import WEIGHT, graph

from deploytk.report import rule_table
from deploytk.rules import tensorrt
from deploytk.rules.tensorrt_rules import LACKING, PARSED, RULES
from deploytk.rules.tensorrt_table import table

ZERO = np.int8(0)
BF16 = TensorProto.BFLOAT16
PAGE = Path(__file__).resolve().parents[2] / "docs" / "check-tensorrt.md"


def one(op: str, ins: str = "x", constants: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    options = {k: more.pop(k) for k in ("shape", "dtype", "opset") if k in more}
    return {"nodes": [(op, ins, "y", more)], "constants": constants, **options}


def qdq(zero: Any = ZERO, weight: Any = ZERO, **more: Any) -> dict[str, Any]:
    """A convolution whose image and weights are quantized to the types of these zero points."""
    nodes = [
        ("QuantizeLinear", "x s z", "q"),
        ("DequantizeLinear", "q s z", "d"),
        ("DequantizeLinear", "w s wz", "wd"),
        ("Conv", "d wd", "y"),
    ]
    weights = np.ones((3, 3, 3, 3), weight.dtype)
    return {"nodes": nodes, "constants": {"s": np.float32(0.1), "z": zero, "w": weights, "wz": weight}, **more}


def biased(bias: Any) -> dict[str, Any]:
    told = qdq()
    dequantized = ("DequantizeLinear", "b s", "bd")
    return {
        "nodes": [*told["nodes"][:3], dequantized, ("Conv", "d wd bd", "y")],
        "constants": {**told["constants"], "b": bias},
    }


def cast(to: int, **more: Any) -> dict[str, Any]:
    return {"nodes": [("Cast", "x", "c", {"to": to}), ("Cast", "c", "y", {"to": TensorProto.FLOAT})], **more}


RESIZE = {"e": np.float32([]), "s": np.float32([1, 1, 2, 2])}
OWN = {"nodes": [("Work", "x", "y", {"domain": "my.ops"})], "domain": "my.ops"}

#: rule -> (options of a graph that passes, of one that fails, what is said of it)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "TRT001": (one("Relu"), OWN, "Work is of the domain my.ops"),
    "TRT002": (one("Relu"), one("Unique"), "Unique is not in TensorRT's parser"),
    "TRT003": (qdq(), one("DynamicQuantizeLinear"), "DynamicQuantizeLinear computes in integers itself"),
    "TRT004": (qdq(), qdq(np.int8(3)), "the zero point is 3"),
    "TRT005": (qdq(), qdq(weight=np.uint8(0)), "the weights are UINT8"),
    "TRT006": (qdq(), qdq(np.uint8(0)), "values above 127 of 255 steps"),
    "TRT007": (biased(np.int8([1, 2, 3])), biased(np.int32([1, 2, 3])), "the bias is INT32"),
    "TRT008": (one("Resize", "x e s", RESIZE, opset=18), one("Resize", "x e s", RESIZE, opset=18, antialias=1), "anti"),
    "TRT009": (
        one("MaxPool", kernel_shape=[2, 2]),
        one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
        "dilations are 2 x 2",
    ),
    "TRT010": (cast(TensorProto.FLOAT), cast(TensorProto.FLOAT, dtype=TensorProto.UINT16), "x is uint16"),
    "TRT011": (cast(TensorProto.FLOAT, dtype=TensorProto.UINT8), cast(TensorProto.UINT8), "c is UINT8 inside"),
    "TRT012": (
        one("Conv", "x w", {"w": WEIGHT}),
        one("Conv", "x w", {"w": WEIGHT[:, :, 0]}),
        "the weights have 3 dimensions, the input 4",
    ),
    "TRT013": (one("Relu", shape=("n", 3, 8, 8)), one("Relu", shape=("n", 3, "h", "w")), "x has free dimensions"),
    "TRT014": (cast(TensorProto.FLOAT), cast(TensorProto.DOUBLE), "it gives float64"),
    "TRT015": (one("Relu"), one("NonZero"), "how much NonZero gives depends on the data"),
    "TRT016": (one("Mish", opset=22), one("Mish", opset=22, dtype=BF16), "Mish is in bfloat16"),
    "TRT017": (
        one("ConvTranspose", "x w", {"w": WEIGHT}),
        one("ConvTranspose", "x w", {"w": WEIGHT}, opset=22, dtype=BF16),
        "it is in bfloat16",
    ),
}
#: What other rules say of the failing graph too.
ALSO = {"TRT002": {"TRT015"}}


def said(folder: Path, options: dict[str, Any]) -> dict[str, str]:
    return {hit.rule.code: hit.said for hit in tensorrt.predict(graph(folder, **options))}


def told(**more: Any) -> dict[str, Any]:
    """What the parser says of a model that it takes, but for what is given."""
    kept = {"library": "TensorRT-RTX 1.7", "rtx": True, "accepted": True, "complaints": [], "lacking": [], "parts": []}
    return {**kept, "layers": 1, "computes": {}, "log": [], **more}


def complaint(index: int, op: str, code: str = "UNSUPPORTED_NODE", said: str = "false", **more: Any) -> dict[str, Any]:
    return {"code": code, "op": op, "name": f"{op}_{index}", "index": index, "inside": [], "said": said, **more}


def codes(folder: Path, options: dict[str, Any], **more: Any) -> list[str]:
    return [f.rule for f, _ in tensorrt.explained(graph(folder, **options), told(**more))]


@pytest.mark.parametrize("code", CASES)
def test_a_rule_passes_what_holds_and_names_what_does_not(code: str, tmp_path: Path) -> None:
    good, bad, words = CASES[code]
    assert code not in said(tmp_path, good)
    found = said(tmp_path, bad)
    assert words in found.pop(code)
    assert set(found) == ALSO.get(code, set())


def test_every_rule_has_a_case_a_sentence_and_a_code_of_its_own() -> None:
    every = [rule.code for rule in (*RULES, *PARSED)]
    assert [rule.code for rule in RULES] == list(CASES)
    assert len(set(every)) == len(every)
    assert all((rule.__doc__ or "").endswith(".") and rule.fix for rule in (*RULES, *PARSED))


@pytest.mark.parametrize(
    ("dtype", "words"), [(np.int16, "the type is INT16"), (np.uint16, "the type is UINT16")], ids=["int16", "uint16"]
)
def test_16_bits_are_named(dtype: Any, words: str, tmp_path: Path) -> None:
    assert said(tmp_path, qdq(dtype(0), opset=21))["TRT005"] == words


def test_without_a_zero_point_it_is_uint8(tmp_path: Path) -> None:
    nodes = [("QuantizeLinear", "x s", "q"), ("DequantizeLinear", "q s", "y")]
    assert "TRT006" in said(tmp_path, {"nodes": nodes, "constants": {"s": np.float32(0.1)}})


def test_an_asymmetric_uint8_is_told_once(tmp_path: Path) -> None:
    assert set(said(tmp_path, qdq(np.uint8(128)))) == {"TRT004"}


def test_what_the_parser_takes_is_taken_whatever_a_rule_says(tmp_path: Path) -> None:
    gelu = {"nodes": [("Gelu", "x", "y", {"domain": "com.microsoft"})], "domain": "com.microsoft"}
    assert "TRT001" in said(tmp_path, gelu)
    assert codes(tmp_path, gelu) == []


def test_what_the_parser_takes_in_silence_still_fails(tmp_path: Path) -> None:
    assert codes(tmp_path, qdq(np.uint8(0))) == ["TRT006"]


def test_a_complaint_that_a_rule_explains_is_told_once_with_its_code(tmp_path: Path) -> None:
    [(finding, places)] = tensorrt.explained(
        graph(tmp_path, **biased(np.int32([1, 2, 3]))),
        told(accepted=False, complaints=[complaint(3, "DequantizeLinear", "INVALID_NODE", "has type Int32")]),
    )
    assert (finding.rule, places) == ("TRT007", (3,))
    assert finding.message.startswith("the bias is INT32 [INVALID_NODE] (rule: A bias is float")
    assert "--target tensorrt --precision int8" in finding.fix


def test_the_nodes_behind_the_one_it_stopped_at_are_named_too(tmp_path: Path) -> None:
    both = {**biased(np.int32([1, 2, 3]))}
    both["constants"] = {**both["constants"], "z": np.int8(3)}
    found = tensorrt.explained(
        graph(tmp_path, **both), told(accepted=False, complaints=[complaint(0, "QuantizeLinear")])
    )
    assert {f.rule: places for f, places in found} == {"TRT004": (0, 1), "TRT007": (3,)}


def test_an_operator_that_the_parser_lists_is_right_where_it_does_not_name_it(tmp_path: Path) -> None:
    nodes = [("Gelu", "x", "g", {"domain": "com.microsoft"}), ("Sin", "g", "y")]
    options = {"nodes": nodes, "domain": "com.microsoft"}
    assert codes(tmp_path, options, accepted=False, complaints=[complaint(1, "Sin")]) == ["TRT020"]


def test_a_complaint_without_words_says_that_the_operator_is_not_there(tmp_path: Path) -> None:
    [(finding, _)] = tensorrt.explained(
        graph(tmp_path, **one("Sin")), told(accepted=False, complaints=[complaint(0, "Sin"), complaint(0, "Sin")])
    )
    assert str(finding).startswith("Sin_0 (Sin): UNSUPPORTED_NODE: Sin is not in the parser")


def test_a_plugin_that_rtx_lacks_may_be_in_tensorrt(tmp_path: Path) -> None:
    lost = complaint(0, "Sin", said="creator: Plugin not found, are the plugin name ... correct?")
    [(finding, _)] = tensorrt.explained(graph(tmp_path, **one("Sin")), told(accepted=False, complaints=[lost]))
    assert "TensorRT-RTX comes without (TensorRT may have it)" in finding.message


def test_a_node_in_the_body_of_an_if_is_named_with_it(tmp_path: Path) -> None:
    inner = complaint(0, "Unique", inside=["choose (If)", "t (then_branch)"])
    [(finding, places)] = tensorrt.explained(graph(tmp_path, **one("Relu")), told(accepted=False, complaints=[inner]))
    assert finding.where == "Unique_0 (Unique) in choose (If)"
    assert places == ()


def test_a_refusal_without_any_complaint_is_one_too(tmp_path: Path) -> None:
    [(finding, _)] = tensorrt.explained(graph(tmp_path, **one("Relu")), told(accepted=False, log=["odd", "no memory"]))
    assert (finding.rule, finding.severity) == ("TRT020", "error")
    assert "no memory" in finding.message


@pytest.mark.parametrize(
    ("computes", "found"),
    [({"int8": 5, "float32": 2}, ["TRT022"]), ({"int8": 5, "float16": 2}, []), ({"float32": 2}, [])],
    ids=["float32 rest", "float16 rest", "not quantized"],
)
def test_a_float32_rest_beside_int8_is_a_warning(computes: dict[str, int], found: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, one("Relu"), computes=computes) == found


def test_the_page_has_the_table_and_the_operators_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rule_table.with_table(page, table()) == page, (
        "run: python -m deploytk.rules.tensorrt_table docs/check-tensorrt.md"
    )
    assert f"{', '.join(sorted(LACKING))}." in " ".join(page.split())
