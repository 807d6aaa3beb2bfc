"""A converted model beside its source: what agrees, what does not, and which layer went wrong first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import parity_graphs as graphs
import pytest

from deploytk.errors import InputError
from deploytk.stages.parity import parity
from deploytk.stages.parity_limits import LIMITS, row_for
from deploytk.stages.parity_steps import compare
from deploytk.stages.parity_verdict import wrong


def found(folder: Path, source: Path, converted: Path, images: np.ndarray = graphs.IMAGES, **more: Any) -> Any:
    given = {"samples": graphs.samples(folder, images), "images": [], "imgsz": None, "precision": "", **more}
    return compare(str(source), str(converted), **given)


def said(told: Any) -> str:
    return " ".join(wrong(told, "source", "converted"))


def quantized(source: Path, out: Path) -> Path:
    """The QDQ model that ONNX Runtime's own quantizer makes."""
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.left = list(graphs.IMAGES)

        def get_next(self) -> Any:
            return {"images": self.left.pop()[None]} if self.left else None

    quantization.quantize_static(str(source), str(out), Reader(), per_channel=True)
    return out


def test_the_same_model_agrees_at_every_batch_size_and_image_size(tmp_path: Path) -> None:
    model = graphs.chain(tmp_path / "a.onnx", side="side")
    told = found(tmp_path, model, model)
    settings = {(row["batch"], tuple(row["size"])) for row in told["rows"]}
    assert settings == {(1, (64, 64)), (2, (64, 64)), (5, (64, 64)), (1, (32, 32)), (1, (64, 32))}
    assert all(row["ok"] and row["sqnr_db"] == 200.0 for row in told["rows"])
    assert said(told) == ""


def test_a_planted_wrong_layer_is_named(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    told = found(tmp_path, source, graphs.chain(tmp_path / "b.onnx", wrong=2))
    assert told["first_wrong_layer"]["layer"] == "/model.2/conv/Conv"
    assert told["first_wrong_layer"]["before_db"] == 200.0
    assert "the first layer that went wrong is /model.2/conv/Conv (Conv)" in said(told)
    assert "at least 40 dB expected of fp32" in said(told)


@pytest.mark.filterwarnings("ignore")
def test_a_planted_wrong_layer_is_named_in_an_int8_model_too(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    good = found(tmp_path, source, quantized(source, tmp_path / "q.onnx"))
    assert (good["precision"], good["first_wrong_layer"], said(good)) == ("int8", None, "")
    bad = quantized(graphs.chain(tmp_path / "b.onnx", wrong=1), tmp_path / "w.onnx")
    assert found(tmp_path, source, bad)["first_wrong_layer"]["layer"] == "/model.1/conv/Conv"


def test_a_model_that_fails_at_batch_2_fails_and_the_batch_is_named(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    told = found(tmp_path, source, graphs.chain(tmp_path / "b.onnx", reshape=True))
    assert [row["ok"] for row in told["rows"]] == [True, False, False]
    assert "at batch 2, 5 (64x64): fails where a.onnx runs" in said(told)


def test_a_fixed_batch_is_compared_at_its_own_size_and_said(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    told = found(tmp_path, source, graphs.chain(tmp_path / "b.onnx", batch=2))
    assert {row["batch"] for row in told["rows"]} == {2}
    assert "b.onnx holds batch size 2" in told["notes"][0]
    with pytest.raises(InputError, match="different batch sizes"):
        found(tmp_path, graphs.chain(tmp_path / "c.onnx", batch=1), tmp_path / "b.onnx")


def test_classes_are_compared_by_the_most_probable_one(tmp_path: Path) -> None:
    source = graphs.classifier(tmp_path / "a.onnx")
    same = found(tmp_path, source, graphs.classifier(tmp_path / "b.onnx", scale=1.001))
    assert [row["top1"] for row in same["rows"] if "top1" in row] == [1.0, 1.0, 1.0]
    assert said(same) == ""
    other = found(tmp_path, source, graphs.classifier(tmp_path / "c.onnx", turned=True))
    assert "/fc/Gemm" in said(other)


def test_an_output_that_has_collapsed_fails_at_any_precision(tmp_path: Path) -> None:
    source = graphs.classifier(tmp_path / "a.onnx")
    told = found(tmp_path, source, graphs.classifier(tmp_path / "b.onnx", scale=0.0), precision="int8")
    assert "collapsed" in said(told)
    assert "collapsed" in " ".join(wrong(told, "a", "b", binding=False))


def test_an_openvino_ir_is_compared_layer_by_layer(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    source = graphs.chain(tmp_path / "a.onnx")
    for name, wrong_one in (("good", None), ("bad", 1)):
        model = ov.convert_model(str(graphs.chain(tmp_path / f"{name}.onnx", wrong=wrong_one)))
        ov.save_model(model, str(tmp_path / f"{name}.xml"), compress_to_fp16=False)
    assert said(found(tmp_path, source, tmp_path / "good.xml")) == ""
    told = found(tmp_path, source, tmp_path / "bad.xml")
    assert told["first_wrong_layer"]["layer"] == "/model.1/conv/Conv"


def test_models_without_common_names_say_that_no_layer_can_be_told(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    model = onnx.load(graphs.chain(tmp_path / "b.onnx", wrong=1))
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"
    onnx.save(model, tmp_path / "b.onnx")
    told = found(tmp_path, source, tmp_path / "b.onnx")
    assert "no layer can be compared with one of the source by its name" in said(told)


def test_samples_that_are_missing_are_an_error_that_names_the_input(tmp_path: Path) -> None:
    source = graphs.chain(tmp_path / "a.onnx")
    np.savez(tmp_path / "none.npz", x=np.zeros(0), z=np.zeros(0))
    with pytest.raises(InputError, match="no samples for the inputs images"):
        compare(str(source), str(source), str(tmp_path / "none.npz"), [], None, "")


@pytest.mark.parametrize(
    ("told", "row"),
    [
        (("fp32", "float32"), "fp32"),
        (("fp32", "bfloat16"), "bf16"),
        (("fp16", "float32"), "fp16"),
        (("unknown", "int8 (62 of 65 weighted operators), float32 (3)"), "int8"),
    ],
)
def test_the_coarsest_of_what_is_said_and_what_is_done_decides(told: tuple[str, str], row: str) -> None:
    assert row_for(*told) == row


def test_int8_alone_leaves_the_decision_to_the_task_metric() -> None:
    assert [name for name, limits in LIMITS.items() if not limits.binding] == ["int8"]


def test_nothing_is_compared_on_noise(tmp_path: Path) -> None:
    model = graphs.chain(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="Give --images FOLDER"):
        parity(model, model)


@pytest.mark.e2e
def test_the_command_ends_with_exit_code_8_and_the_layer(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "deploytk.cli.main", "parity", str(graphs.chain(tmp_path / "a.onnx"))]
    argv += [str(graphs.chain(tmp_path / "b.onnx", wrong=0)), "--json"]
    argv += ["--samples", graphs.samples(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["verdict"]) == (8, "fail")
    assert "/model.0/conv/Conv" in " ".join(told["reasons"])
    assert "/model.0/conv/Conv" in (tmp_path / "out" / "report.md").read_text()
