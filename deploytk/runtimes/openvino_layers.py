"""The values inside an OpenVINO IR (or an ONNX file read by OpenVINO), layer by layer, on the CPU (openvino)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from deploytk.graphs.layers import Layer
from deploytk.runtimes import Feed

_QUANTIZE = "FakeQuantize"
_PLUMBING = frozenset({_QUANTIZE, "Parameter", "Result", "Constant", "Convert"})


class OpenVinoLayers:
    """The layers of a model by friendly name. Of a quantized one the values are those that the next layer reads."""

    def __init__(self, path: Path) -> None:
        self._core = ov.Core()
        self._model = self._core.read_model(path)
        nodes = [n for n in self._model.get_ordered_ops() if n.get_type_name() not in _PLUMBING]
        self._nodes = {n.get_friendly_name(): n for n in nodes}
        self.layers = tuple(Layer(name=name, op=node.get_type_name()) for name, node in self._nodes.items())

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted layers that are floating-point numbers, by layer name."""
        model = self._model.clone()
        named = {n.get_friendly_name(): n for n in model.get_ordered_ops()}
        results = [ov.opset8.result(_read_as(named[name].output(0))) for name in wanted]
        model.add_results(results)
        compiled = self._core.compile_model(model, "CPU")
        values = list(compiled(dict(feed)).values())[-len(wanted) :]
        return {n: np.array(v) for n, v in zip(wanted, values, strict=True) if v.dtype.kind == "f"}


def _read_as(port: Any) -> Any:
    """The port that holds what the next layer reads: behind its quantization, where there is one."""
    following = [i.get_node() for i in port.get_target_inputs() if i.get_node().get_type_name() == _QUANTIZE]
    return following[0].output(0) if following else port
