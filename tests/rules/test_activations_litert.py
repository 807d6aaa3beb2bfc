"""Activations of real .tflite files, fused ones included."""

from __future__ import annotations

from pathlib import Path

import pytest

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
