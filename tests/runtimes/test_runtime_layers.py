"""The values inside a model, layer by layer, in each format that can be looked into."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FEED = {"x": np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)}


def test_onnx_layers_read_what_the_layer_before_gave(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import tiny_onnx

    from deploytk.runtimes.onnx_layers import OnnxLayers

    model = OnnxLayers(tiny_onnx.conv(tmp_path / "m.onnx"))
    conv, relu = model.layers
    assert (conv.op, relu.op, relu.reads, conv.reader) == ("Conv", "Relu", (conv.name,), relu.name)
    values = model.run(FEED, [conv.name, relu.name])
    assert values[conv.name].min() < 0
    np.testing.assert_allclose(np.maximum(values[conv.name], 0), values[relu.name])


def test_openvino_layers_are_called_as_the_onnx_nodes(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    import onnx
    import onnx_graphs

    from deploytk.runtimes.openvino_layers import OpenVinoLayers

    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [("Conv", "x w", "c"), ("Relu", "c", "y")]
    onnx.save(onnx_graphs.model(nodes, constants={"w": weights}, names=("first", "second")), tmp_path / "m.onnx")
    model = OpenVinoLayers(tmp_path / "m.onnx")
    assert [layer.name for layer in model.layers] == ["first", "y"]  # what makes an output is called as the output
    values = model.run(FEED, ["first", "y"])
    np.testing.assert_allclose(np.maximum(values["first"], 0), values["y"])


def test_torch_layers_are_the_convolutions_by_module_path_and_the_relu_that_all_share() -> None:
    torch = pytest.importorskip("torch")
    from deploytk.runtimes.torch_layers import TorchLayers

    torch.manual_seed(1)  # with these weights the last convolution gives numbers below 0
    shared = torch.nn.ReLU()

    def block(given: int, made: int, activation: Any) -> Any:
        return torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(given, made, 3), act=activation))

    module = torch.nn.Sequential(block(3, 4, shared), block(4, 4, shared), block(4, 2, torch.nn.SiLU())).eval()
    model = TorchLayers(module)
    names = ["0.conv.Conv", "0.act.Relu", "1.conv.Conv", "1.act.Relu", "2.conv.Conv"]
    assert [layer.name for layer in model.layers] == names
    values = model.run(FEED, names)
    for conv, relu in (names[:2], names[2:4]):
        np.testing.assert_allclose(np.maximum(values[conv], 0), values[relu])
    assert values["2.conv.Conv"].min() < 0
    assert not any(m._forward_hooks for m in module.modules())
    assert TorchLayers(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))).layers == ()


def test_litert_layers_give_real_numbers_of_an_int8_model(data_dir: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from deploytk.runtimes.litert import open_session as opened
    from deploytk.runtimes.litert import random_input
    from deploytk.runtimes.litert_layers import LiteRtLayers

    path = next((data_dir / "mlperf_tiny").rglob("*int8*.tflite"), next((data_dir / "mlperf_tiny").rglob("*.tflite")))
    spec = opened(path, batch=None, threads=1).inputs[0]
    model = LiteRtLayers(path)
    names = [layer.name for layer in model.layers]
    values = model.run({spec.name: random_input(spec)}, names)
    assert len(values) > len(names) / 2
    assert all(v.dtype == np.float32 for v in values.values())
