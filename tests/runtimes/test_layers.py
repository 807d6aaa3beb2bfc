"""The values inside a model, layer by layer, in each format that can be looked into."""

from __future__ import annotations

from pathlib import Path

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


def test_torch_layers_are_the_convolutions_by_module_path() -> None:
    torch = pytest.importorskip("torch")
    from deploytk.runtimes.torch_layers import TorchLayers

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)).eval()
    model = TorchLayers(module)
    assert [layer.place for layer in model.layers] == ["0.Conv", "2.Conv"]
    values = model.run(FEED, ["2.Conv"])
    np.testing.assert_allclose(values["2.Conv"], module(torch.from_numpy(FEED["x"])).detach().numpy())
    assert not any(m._forward_hooks for m in module)


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
