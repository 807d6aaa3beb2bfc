"""Engines really built by NVIDIA's parser and builder, without a GPU: by TensorRT-RTX, which needs none for that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import tiny_detector
import tiny_onnx
from onnx import helper

from deploytk.errors import InputError, ParityFailed
from deploytk.files import sha256_of
from deploytk.graphs.identify import identify
from deploytk.recipe import Recipe
from deploytk.runtimes import gpu
from deploytk.runtimes import tensorrt_library as library
from deploytk.targets import tensorrt as target
from deploytk.targets.tensorrt import building
from deploytk.targets.tensorrt.spans import Span

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


def built(folder: Path, model: Path, precision: str = "fp32", **how: Any) -> dict[str, Any]:
    how = {"batches": [1, 2, 4, 8], **how}
    facts: dict[str, Any] = target.build(
        str(model), str(folder / "m.engine"), precision=precision, timings=str(folder / "timings"), **how
    )
    return facts


@pytest.mark.parametrize(
    ("precision", "words"),
    [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16"), ("int8", "int8")],
)
def test_each_precision_is_built_for_batches_1_to_8_and_computes_in_it(
    tmp_path: Path, precision: Any, words: str
) -> None:
    model = path = tiny_detector.write(tmp_path / "m.onnx")
    if precision == "int8":
        path = tmp_path / "typed.onnx"
        target.quantize_graph(model, tiny_detector.feeds, path, Recipe())
    elif precision != "fp32":
        path = tmp_path / "typed.onnx"
        target.typed(model, path, precision)
    facts = built(tmp_path, path, precision)
    assert re.fullmatch(words, facts["precision"])
    assert facts["profiles"] == [[1, 1, 1], [2, 4, 8]]
    assert facts["onnx_sha256"] == sha256_of(path)
    assert facts["bytes"] == (tmp_path / "m.engine").stat().st_size
    assert identify(tmp_path / "m.engine").name == "tensorrt-engine"
    json.dumps(facts)


@pytest.mark.skipif(not gpu.lacking(), reason="this machine has a GPU")
def test_without_a_gpu_it_is_tensorrt_rtx_and_says_that_there_is_none(tmp_path: Path) -> None:
    facts = built(tmp_path, tiny_onnx.conv(tmp_path / "m.onnx"))
    assert (facts["library"], facts["gpu"], facts["compute_capability"]) == ("tensorrt_rtx", None, None)
    assert facts["version"] == library.library("tensorrt_rtx").__version__


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_a_float32_network_is_never_built_as_another_precision(tmp_path: Path, precision: str) -> None:
    with pytest.raises(ParityFailed, match=rf"m.onnx: {precision} was asked for, and .*; nothing was built"):
        built(tmp_path, tiny_onnx.conv(tmp_path / "m.onnx"), precision)
    assert not (tmp_path / "m.engine").exists()


def test_an_operator_that_tensorrt_has_not_is_named_with_its_node(tmp_path: Path) -> None:
    path = _custom(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"does not take it: odd \(Strange\) is refused as .* --target tensorrt"):
        built(tmp_path, path)


def _custom(path: Path) -> Path:
    """Conv, and an operator of nobody's."""
    model = onnx.load(tiny_onnx.conv(path))
    model.graph.node[1].CopyFrom(helper.make_node("Strange", ["c"], ["y"], name="odd", domain="com.nobody"))
    model.opset_import.append(helper.make_opsetid("com.nobody", 1))
    onnx.save(model, path)
    return path


def test_a_free_image_size_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", size="side")
    with pytest.raises(InputError, match=r"input 'x' is \[free, 3, free, free\]: an engine is for one"):
        built(tmp_path, path)


def test_a_fixed_batch_is_built_for_itself_alone(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", batch=4)
    assert built(tmp_path, path, batches=[4])["profiles"] == [[4, 4, 4]]
    with pytest.raises(InputError, match=r"its batch size is fixed at 4, and .* asked for batches 1, 2\.\.8, best"):
        built(tmp_path, path)


def test_a_profile_that_tensorrt_refuses_is_told_though_it_gives_only_minus_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    monkeypatch.setattr(building, "spans", lambda *_given: (Span(least=1, best=8, most=4),))
    with pytest.raises(InputError, match=r"m.onnx: TensorRT-RTX .* refuses the batches 1\.\.4, best at 8: .+"):
        built(tmp_path, path)
    assert not (tmp_path / "m.engine").exists()


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"m.onnx: TensorRT-RTX .* does not take it"):
        built(tmp_path, tmp_path / "m.onnx")


def test_the_progress_of_a_build_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("deploytk.worker.emit", lambda **event: told.append(event))
    built(tmp_path, tiny_detector.write(tmp_path / "m.onnx"))
    assert any(event.get("total") and event["done"] <= event["total"] for event in told)
