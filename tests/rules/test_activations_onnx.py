"""Each way in which exporters write an activation is found, once, with its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import WEIGHT, graph

from deploytk.graphs import onnx as graphs
from deploytk.rules import activations_onnx

CONV = ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]})
SIGMOID_OF = ("Sigmoid", "c", "s")


def kinds(folder: Path, *nodes: Any, **constants: Any) -> list[str]:
    found = activations_onnx.find(graph(folder, [CONV, *nodes], constants={"w": WEIGHT, **constants}))
    return [a.kind for a in found]


@pytest.mark.parametrize(
    ("kind", "nodes", "constants"),
    [
        ("relu", [("Relu", "c", "y")], {}),
        ("leaky_relu", [("LeakyRelu", "c", "y", {"alpha": 0.1})], {}),
        ("relu6", [("Clip", "c lo hi", "y")], {"lo": 0.0, "hi": 6.0}),
        ("relu", [("Clip", "c lo", "y")], {"lo": 0.0}),
        ("clip", [("Clip", "c lo hi", "y")], {"lo": -1.0, "hi": 1.0}),
        ("prelu", [("PRelu", "c a", "y")], {"a": np.float32([0.1, 0.2, 0.3]).reshape(3, 1, 1)}),
        ("leaky_relu", [("PRelu", "c a", "y")], {"a": np.float32([0.1, 0.1, 0.1]).reshape(3, 1, 1)}),
        ("leaky_relu", [("Mul", "c a", "m"), ("Max", "c m", "y")], {"a": 0.1}),
        ("silu", [SIGMOID_OF, ("Mul", "c s", "y")], {}),
        ("silu", [SIGMOID_OF, ("Mul", "s c", "y")], {}),
        ("hardswish", [("HardSwish", "c", "y")], {}),
        ("hardswish", [("HardSigmoid", "c", "s", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", "c s", "y")], {}),
        (
            "hardswish",
            [("Add", "c three", "a"), ("Clip", "a lo hi", "r"), ("Mul", "c r", "m"), ("Div", "m hi", "y")],
            {"three": 3.0, "lo": 0.0, "hi": 6.0},
        ),
        (
            "hardswish",
            [("Add", "c three", "a"), ("Clip", "a lo hi", "r"), ("Div", "r hi", "d"), ("Mul", "d c", "y")],
            {"three": 3.0, "lo": 0.0, "hi": 6.0},
        ),
        (
            "gelu",
            [("Div", "c r2", "d"), ("Erf", "d", "e"), ("Add", "e one", "a"), ("Mul", "c a", "m"), ("Mul", "m h", "y")],
            {"r2": 2**0.5, "one": 1.0, "h": 0.5},
        ),
        (
            "gelu",
            [
                ("Pow", "c three", "p"), ("Mul", "p k", "q"), ("Add", "c q", "a"), ("Mul", "a f", "b"),
                ("Tanh", "b", "t"), ("Add", "t one", "u"), ("Mul", "c u", "m"), ("Mul", "m h", "y"),
            ],
            {"three": 3.0, "k": 0.044715, "f": 0.7978846, "one": 1.0, "h": 0.5},
        ),
        ("mish", [("Softplus", "c", "s"), ("Tanh", "s", "t"), ("Mul", "c t", "y")], {}),
        ("elu", [("Elu", "c", "y")], {}),
        ("selu", [("Selu", "c", "y")], {}),
        ("tanh", [("Tanh", "c", "y")], {}),
        ("softplus", [("Softplus", "c", "y")], {}),
    ],
)  # fmt: skip
def test_each_activation_is_found_once(tmp_path: Path, kind: str, nodes: list[Any], constants: dict[str, Any]) -> None:
    assert kinds(tmp_path, *nodes, **constants) == [kind]


@pytest.mark.parametrize(
    "nodes",
    [
        [("Sigmoid", "c", "y")],  # an output
        [("GlobalAveragePool", "c", "p"), ("Sigmoid", "p", "s"), ("Mul", "c s", "y")],  # squeeze and excite
        [("Softmax", "c", "y")],
        [("Add", "c c", "y")],
        [("HardSigmoid", "c", "y")],
    ],
)
def test_gates_and_outputs_are_no_activations(tmp_path: Path, nodes: list[Any]) -> None:
    assert kinds(tmp_path, *nodes) == []


def test_a_clip_far_from_a_convolution_is_no_activation(tmp_path: Path) -> None:
    nodes = [("Clip", "x lo hi", "c"), ("MaxPool", "c", "y", {"kernel_shape": [2, 2]})]
    made = graph(tmp_path, nodes, constants={"lo": 0.0, "hi": 255.0})
    assert activations_onnx.find(made) == []


def test_clip_of_opset_10_has_its_bounds_as_attributes(tmp_path: Path) -> None:
    made = graph(tmp_path, [CONV, ("Clip", "c", "y", {"min": 0.0, "max": 6.0})], constants={"w": WEIGHT}, opset=10)
    assert [a.kind for a in activations_onnx.find(made)] == ["relu6"]


def test_silu_is_found_through_quantization(tmp_path: Path) -> None:
    nodes = [
        ("QuantizeLinear", "c scale zero", "q"), ("DequantizeLinear", "q scale zero", "d"), ("Sigmoid", "d", "s"),
        ("QuantizeLinear", "s scale zero", "sq"), ("DequantizeLinear", "sq scale zero", "sd"), ("Mul", "sd d", "y"),
    ]  # fmt: skip
    assert kinds(tmp_path, *nodes, scale=0.1, zero=np.int8(0)) == ["silu"]


def test_a_relu_that_the_quantizer_folded_away_counts(tmp_path: Path) -> None:
    fold = [("QuantizeLinear", "c scale zero", "q"), ("DequantizeLinear", "q scale zero", "y")]
    assert kinds(tmp_path, *fold, scale=0.1, zero=np.int8(-128)) == ["relu"]
    assert kinds(tmp_path, *fold, scale=0.1, zero=np.int8(-5)) == []


def test_the_slope_of_leaky_relu_is_read(tmp_path: Path) -> None:
    made = graph(tmp_path, [CONV, ("LeakyRelu", "c", "y", {"alpha": 0.25})], constants={"w": WEIGHT})
    assert [a.slope for a in activations_onnx.find(made)] == [0.25]


def test_real_models_have_the_activations_of_their_papers(data_dir: Path) -> None:
    def count(path: str) -> dict[str, int]:
        found = activations_onnx.find(graphs.read(data_dir / path))
        return {kind: sum(a.kind == kind for a in found) for kind in {a.kind for a in found}}

    assert count("onnx_light/light/light_resnet50.onnx") == {"relu": 49}
    assert count("onnx_light/light/light_squeezenet.onnx") == {"relu": 26}
    # Quantized by PPQ, which left no Relu node: as many as the .tflite of the same models has.
    assert count("mlperf_tiny_qdq_onnx/ic/K1_BOARD_V1.0/models/resnet.onnx") == {"relu": 7}
    assert count("mlperf_tiny_qdq_onnx/kws/K1_BOARD_V1.0/models/kws_ref_model.onnx") == {"relu": 9}
