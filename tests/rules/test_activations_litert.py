"""Activations of real .tflite files, fused ones included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tiny_litert import Tiny

from deploytk.graphs import litert
from deploytk.rules import activations_litert
from deploytk.rules.activations_litert import short


@pytest.mark.parametrize(
    ("path", "kind", "count"),
    [
        ("tflm/models/person_detect.tflite", "relu6", 27),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", "relu6", 27),
        ("mlperf_tiny/benchmark/training/image_classification/trained_models/pretrainedResnet_quant.tflite", "relu", 7),
        ("mlperf_tiny/benchmark/training/image_classification/trained_models/pretrainedResnet.tflite", "relu", 7),
        ("mlperf_tiny/benchmark/training/keyword_spotting/trained_models/kws_ref_model.tflite", "relu", 9),
        ("tflm/examples/hello_world/models/hello_world_int8.tflite", "relu", 2),
    ],
)
def test_fused_activations_are_counted(data_dir: Path, path: str, kind: str, count: int) -> None:
    found = activations_litert.find(litert.read(data_dir / path))
    assert [a.kind for a in found] == [kind] * count


def test_names_lose_the_converters_wrappers() -> None:
    name = "a.b.ChannelLastIOWrapper/__main__.RawHead_wrapped/u.nn.block.C2f_2/u.nn.conv.Conv_cv1/t.SiLU_act;;other/x"
    assert short(name) == "C2f_2/Conv_cv1/SiLU_act"


def hard_sigmoid(path: Path, shifted_by: str, factor: float, gates: str) -> list[str]:
    """The activations of relu6(x + 3) * factor that multiplies `gates` ("x" or another value); int8 throughout."""
    tiny = Tiny()
    image, x, other = (tiny.tensor(name, zero=-128) for name in ("image", "x", "other"))
    clamped, part, end = (tiny.tensor(name, zero=-128) for name in ("clamped", "part", "end"))
    tiny.conv(image, other)
    tiny.conv(image, x, "RELU6" if shifted_by == "bias" else "NONE")
    if shifted_by == "bias":
        clamped = x
    else:
        three = tiny.tensor("three", (), scale=3 / 127, data=np.array(127, np.int8))
        add = schema.AddOptionsT()
        add.fusedActivationFunction = schema.ActivationFunctionType.RELU6
        tiny.op("ADD", [x, three], [clamped], add)
    sixth = tiny.tensor("sixth", (), scale=factor / 127, data=np.array(127, np.int8))
    tiny.op("MUL", [clamped, sixth], [part], schema.MulOptionsT())
    tiny.op("MUL", [x if gates == "x" else other, part], [end], schema.MulOptionsT())
    return [a.kind for a in activations_litert.find(litert.read(tiny.write(path, [image], [end])))]


def test_a_hard_sigmoid_that_gates_another_value_is_no_activation(tmp_path: Path) -> None:
    assert hard_sigmoid(tmp_path / "a.tflite", "bias", 1 / 6, "other") == []
    assert hard_sigmoid(tmp_path / "b.tflite", "add", 1 / 6, "other") == []


def test_a_hard_sigmoid_that_multiplies_its_own_input_is_hardswish(tmp_path: Path) -> None:
    assert hard_sigmoid(tmp_path / "a.tflite", "add", 1 / 6, "x") == ["hardswish"]


def test_a_relu6_that_is_scaled_by_another_number_is_a_relu6(tmp_path: Path) -> None:
    assert hard_sigmoid(tmp_path / "a.tflite", "bias", 0.5, "other") == ["relu6"]
