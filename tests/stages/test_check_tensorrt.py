"""`check --target tensorrt` names what TensorRT would not take, read by NVIDIA's own parser without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from onnx_graphs import WEIGHT, model

from deploytk import profile_loading, worker
from deploytk.cli.check import check as command
from deploytk.errors import InputError, MissingDependency, StepFailed
from deploytk.report import Report
from deploytk.rules.tensorrt_rules import LACKING
from deploytk.stages import check_tensorrt
from deploytk.stages.check_tensorrt import check

CONV = ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]})
RELU = ("Relu", "c", "y")
BY = "; parsed by TensorRT"

needs_tensorrt = pytest.mark.skipif(
    util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed, which reads models without a GPU"
)


def written(folder: Path, *nodes: Any, constants: dict[str, Any] | None = None, **options: Any) -> Path:
    path = folder / "m.onnx"
    onnx.save(model(nodes, constants={"w": WEIGHT} | (constants or {}), **options), path)
    return path


def quantized(folder: Path, zero: Any, bias: bool = False) -> Path:
    nodes: list[Any] = [
        ("QuantizeLinear", "x s z", "q"),
        ("DequantizeLinear", "q s z", "d"),
        ("DequantizeLinear", "k s", "wd"),
    ]
    constants = {"s": np.float32(0.1), "z": zero, "k": np.ones((3, 3, 3, 3), np.int8)}
    if bias:
        nodes.append(("DequantizeLinear", "b s", "bd"))
        constants["b"] = np.int32([1, 2, 3])
    return written(folder, *nodes, ("Conv", "d wd bd" if bias else "d wd", "c"), RELU, constants=constants)


def outcome(report: Report) -> tuple[str, int, str]:
    return report.verdict.status, report.exit_code, report.verdict.reasons[0].partition(BY)[0]


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


@needs_tensorrt
def test_a_model_that_it_takes_passes_and_says_who_read_it_and_what_it_computes_in(tmp_path: Path) -> None:
    report = check(written(tmp_path, CONV, RELU, shape=("batch", 3, 8, 8)))
    assert outcome(report) == ("pass", 0, "TensorRT takes 2 of 2 nodes, in 1 part")
    assert "on this CPU; not built, not executed" in report.verdict.reasons[0]
    assert report.verdict.reasons[1] == "layers with weights: 1 in float32"
    assert report.findings == ()


@needs_tensorrt
def test_an_operator_that_it_lacks_is_named_and_splits_the_graph(tmp_path: Path) -> None:
    report = check(written(tmp_path, CONV, ("Relu", "c", "r"), ("Unique", "r", "u"), ("Sin", "u", "y")))
    assert outcome(report) == ("fail", 5, "TensorRT takes at most 3 of 4 nodes, in 2 parts")
    [row] = report.sections["tensorrt"]["refused"]
    assert (row["node"], row["op"], row["name"], row["rule"]) == (2, "Unique", "Unique_2", "TRT002")
    assert row["why"] == "Unique is not in TensorRT's parser [UNSUPPORTED_NODE]"


@needs_tensorrt
def test_a_custom_operator_is_named_with_its_domain(tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Work", "x", "y", {"domain": "my.ops"}), domain="my.ops"))
    assert outcome(report) == ("fail", 5, "TensorRT takes none of 1 nodes")
    assert report.sections["tensorrt"]["refused"][0]["domain"] == "my.ops"
    assert rules(report) == {"TRT001"}


@needs_tensorrt
def test_an_operator_that_nobody_has_is_told_so(tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Reluu", "x", "y")))
    assert rules(report) == {"TRT001"}
    assert "Reluu is no operator of ONNX" in report.verdict.reasons[1]


@needs_tensorrt
def test_a_node_behind_a_function_is_named_and_not_its_neighbour(tmp_path: Path) -> None:
    body = [helper.make_node("Sin", ["a"], ["b"]), helper.make_node("Sin", ["b"], ["c"])]
    made = model([("Twice", "x", "r", {"domain": "own"}), ("Unique", "r", "u"), ("Sin", "u", "y")], domain="own")
    made.functions.append(helper.make_function("own", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 17)]))
    onnx.save(made, tmp_path / "m.onnx")
    report = check(tmp_path / "m.onnx")
    assert outcome(report) == ("fail", 5, "TensorRT takes at most 3 of 4 nodes, in 2 parts")
    assert [row["name"] for row in report.sections["tensorrt"]["refused"]] == ["Unique_1"]


@needs_tensorrt
def test_an_operator_of_another_domain_that_it_has_passes(tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Gelu", "x", "y", {"domain": "com.microsoft"}), domain="com.microsoft"))
    assert report.exit_code == 0


@needs_tensorrt
@pytest.mark.parametrize(
    ("zero", "bias", "expected"),
    [
        (np.int8(0), False, set()),
        (np.int8(7), False, {"TRT004"}),
        (np.uint8(128), False, {"TRT004"}),
        (np.uint8(0), False, {"TRT006"}),
        (np.int8(0), True, {"TRT007"}),
        (np.int8(7), True, {"TRT004", "TRT007"}),
    ],
    ids=["symmetric", "asymmetric", "asymmetric uint8", "uint8", "int32 bias", "both"],
)
def test_int8_is_taken_symmetric_and_with_a_float_bias(
    zero: Any, bias: bool, expected: set[str], tmp_path: Path
) -> None:
    report = check(quantized(tmp_path, zero, bias))
    assert rules(report) == expected
    assert report.exit_code == (5 if expected else 0)
    assert all("--target tensorrt --precision int8" in f.fix for f in report.findings)
    if not expected:
        assert report.verdict.reasons[1] == "layers with weights: 1 in int8"


@needs_tensorrt
def test_integer_operators_are_refused_with_the_remedy(tmp_path: Path) -> None:
    dynamic = [("DynamicQuantizeLinear", "x", "q s z"), ("ConvInteger", "q k z", "i"), ("Cast", "i", "y", {"to": 1})]
    report = check(written(tmp_path, *dynamic, constants={"k": np.ones((3, 3, 3, 3), np.uint8)}))
    assert rules(report) == {"TRT003"}
    assert [row["op"] for row in report.sections["tensorrt"]["refused"]] == ["DynamicQuantizeLinear", "ConvInteger"]


@needs_tensorrt
def test_weights_of_the_wrong_rank_fail_though_the_parser_takes_them(tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Conv", "x k", "y"), constants={"k": WEIGHT[:, :, 0]}))
    assert (report.exit_code, rules(report)) == (5, {"TRT012"})


@needs_tensorrt
@pytest.mark.parametrize("dtype", [TensorProto.STRING, TensorProto.UINT16, TensorProto.COMPLEX64])
def test_an_input_of_a_type_that_it_lacks_is_named(dtype: int, tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Identity", "x", "i"), ("Cast", "i", "y", {"to": 1}), dtype=dtype))
    assert (report.exit_code, rules(report)) == (5, {"TRT010"})


@needs_tensorrt
def test_free_dimensions_beyond_the_batch_are_a_warning(tmp_path: Path) -> None:
    report = check(written(tmp_path, CONV, RELU, shape=("n", 3, "h", "w")))
    assert (report.exit_code, rules(report)) == (0, {"TRT013"})


@needs_tensorrt
@pytest.mark.parametrize("opset", [7, 8, 12, 22])
def test_old_and_new_opsets_are_read(opset: int, tmp_path: Path) -> None:
    assert check(written(tmp_path, CONV, RELU, opset=opset)).exit_code == 0


@needs_tensorrt
def test_half_precision_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(
        model([CONV], constants={"w": WEIGHT.astype(np.float16)}, dtype=TensorProto.FLOAT16, outputs=("c",)), path
    )
    assert check(path).sections["tensorrt"]["computes"] == {"float16": 1}


@needs_tensorrt
@pytest.mark.parametrize("op", ["HardSwish", "Mish", "LpNormalization", "Shrink"])
def test_what_has_no_bfloat16_is_named(op: str, tmp_path: Path) -> None:
    nodes = [(op, "x", "r"), ("Cast", "r", "y", {"to": 1})]
    report = check(written(tmp_path, *nodes, dtype=TensorProto.BFLOAT16, opset=22))
    assert (report.exit_code, rules(report)) == (5, {"TRT016"})


@needs_tensorrt
def test_weights_in_a_file_of_their_own_are_found(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    made = model([CONV, RELU], constants={"w": WEIGHT})
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert check(path).exit_code == 0
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputError, match="which is not there"):
        check(path)


@needs_tensorrt
def test_a_node_in_the_branch_of_an_if_is_named_with_it(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("a", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node(op, ["x"], ["a"], name="inner")], op, [], [out])
        for op in ("Unique", "Relu")
    ]
    made = model([("Relu", "b", "y")])
    node = helper.make_node("If", ["yes"], ["b"], name="choose", then_branch=branches[0], else_branch=branches[1])
    made.graph.node.insert(0, node)
    made.graph.input.append(helper.make_tensor_value_info("yes", TensorProto.BOOL, []))
    onnx.save(made, tmp_path / "m.onnx")
    report = check(tmp_path / "m.onnx")
    assert report.exit_code == 5
    assert report.findings[0].where == "inner (Unique) in choose (If)"


@needs_tensorrt
def test_the_operators_of_the_rule_are_those_that_the_parser_lacks(tmp_path: Path) -> None:
    asked = sorted(LACKING | {"Conv", "Gelu", "LSTM", "TopK"})
    path = str(written(tmp_path, CONV, RELU))
    call = {"path": path, "ops": asked}
    told = worker.call(check_tensorrt._PARSED, call, logs=tmp_path, name="ops", timeout_s=60)
    assert set(told["lacking"]) == LACKING


@needs_tensorrt
def test_a_profile_has_its_activations_checked_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, CONV, RELU)
    assert check(path, profile=profile_loading.load("npu-level4-relu")).exit_code == 0
    report = check(path, profile=profile_loading.load("npu-silu"))
    assert report.exit_code == 5
    assert "1 of 1 activations are relu instead of silu" in " ".join(report.verdict.reasons)


@needs_tensorrt
def test_real_models_are_taken(data_dir: Path) -> None:
    for path in [*(data_dir / "onnx_light").rglob("*.onnx"), *(data_dir / "ort_examples").rglob("mnist*.onnx")]:
        report = check(path)
        assert outcome(report)[:2] == ("pass", 0), path
        assert report.sections["tensorrt"]["computes"].keys() == {"float32"}


@needs_tensorrt
@pytest.mark.parametrize(
    ("name", "share", "found"),
    [
        ("mlperf_tiny_qdq_onnx/**/resnet.onnx", "at most 27 of 67 nodes, in 23 parts", {"TRT004", "TRT007"}),
        ("mlperf_tiny_qdq_onnx/**/kws_ref_model.onnx", "at most 24 of 58 nodes, in 22 parts", {"TRT004", "TRT007"}),
        ("ort_examples/**/*superresolution*.onnx", "at most 92 of 105", {"TRT001", "TRT008", "TRT011"}),
    ],
)
def test_real_models_are_refused_for_what_they_have(data_dir: Path, name: str, share: str, found: set[str]) -> None:
    [path] = data_dir.glob(name)
    report = check(path)
    assert report.exit_code == 5
    assert share in report.verdict.reasons[0]
    assert rules(report) == found


def test_every_bad_file_and_every_other_model_is_one_sentence(data_dir: Path, tmp_path: Path) -> None:
    bad = [p for p in (data_dir / "bad").rglob("*") if p.is_file()]
    for path in [*bad, *data_dir.rglob("*.tflite")]:
        with pytest.raises(InputError) as caught:
            check(path, out=tmp_path)
        assert str(path) in caught.value.message
        assert len(caught.value.message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_tflite_is_told_that_onnx_is_read(data_dir: Path) -> None:
    [path] = data_dir.rglob("person_detect.tflite")
    with pytest.raises(
        InputError, match="is a TFLite model, and TensorRT reads ONNX; check the ONNX or the checkpoint"
    ):
        check(path)


def test_a_parser_that_crashes_is_a_result_whose_log_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dying.py").write_text(
        "import os\ndef parsed(path, ops):\n    print('about to die', flush=True)\n    os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(check_tensorrt.__file__).parents[2]}")
    monkeypatch.setattr(check_tensorrt, "_PARSED", "dying:parsed")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    report = check(written(tmp_path, CONV, RELU))
    assert (report.verdict.status, report.exit_code, rules(report)) == ("fail", 5, {"TRT021"})
    assert "crashed (SIGABRT)" in report.verdict.reasons[0]
    assert "about to die" in Path(report.sections["tensorrt"]["log"]).read_text()


def test_a_parser_that_takes_too_long_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef parsed(path, ops):\n    time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(check_tensorrt.__file__).parents[2]}")
    monkeypatch.setattr(check_tensorrt, "_PARSED", "slow:parsed")
    report = check(written(tmp_path, CONV, RELU), out=tmp_path / "out", timeout_s=1)
    assert (report.verdict.status, report.exit_code) == ("inconclusive", 4)
    assert "stopped after 1 s" in report.verdict.reasons[0]


def test_a_fault_of_ours_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_tensorrt, "_PARSED", "json:loads")  # takes no path
    with pytest.raises(StepFailed, match="TypeError"):
        check(written(tmp_path, CONV, RELU), out=tmp_path / "out")


def test_without_any_tensorrt_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide = "import sys\nsys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None\n"
    (tmp_path / "without.py").write_text(f"{hide}from deploytk.targets.tensorrt.support import parsed\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(check_tensorrt.__file__).parents[2]}")
    monkeypatch.setattr(check_tensorrt, "_PARSED", "without:parsed")
    with pytest.raises(MissingDependency, match=r"pip install 'deploytk\[tensorrt\]'"):
        check(written(tmp_path, CONV, RELU), out=tmp_path / "out")


@needs_tensorrt
def test_the_command_ends_with_one_json_document(tmp_path: Path) -> None:
    path = written(tmp_path, ("Unique", "x", "y"))
    argv = [sys.executable, "-m", "deploytk.cli.main", "check", str(path), "--target", "tensorrt", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["exit_code"], told["verdict"]) == (5, 5, "fail")
    assert told["sections"]["tensorrt"]["refused"][0]["op"] == "Unique"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "tensort"], "did you mean 'tensorrt'?"),
        (["--target", "tensorrt", "--npu", "ethos-u55-256"], "leave one out"),
    ],
)
def test_a_wrong_option_is_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(written(tmp_path, CONV, RELU)), *options])
    assert done.exit_code == 2
    assert words in done.stderr


def test_the_npu_is_what_is_checked_for_where_nothing_is_said(tmp_path: Path) -> None:
    path = str(written(tmp_path, CONV, RELU))
    told = [CliRunner().invoke(command, [path, *more, "--json"]) for more in ([], ["--target", "npu"])]
    first, second = (json.loads(done.stdout.splitlines()[-1]) for done in told)
    assert first["reasons"] == second["reasons"]
    assert "predicted by rules" in first["reasons"][0]
