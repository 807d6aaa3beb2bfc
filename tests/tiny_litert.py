"""Quantized .tflite files of a few operators, built by hand for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deploytk.graphs import litert

SHAPE = (1, 8, 8, 16)


class Tiny:
    """A model under construction: tensors and operators are added in order."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.buffers = 3, [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...] = SHAPE,
        dtype: str = "INT8",
        scale: float | None = 0.02,
        zero: int = 0,
        data: np.ndarray | None = None,
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, list(shape), getattr(schema.TensorType, dtype)
        made.buffer = 0
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), dtype=np.uint8)
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def op(self, name: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex = litert.op_code(self.model, name)
        # int8 came with version 2 of the operators used here, but HARD_SWISH has had it from the start.
        self.model.operatorCodes[made.opcodeIndex].version = 1 if name == "HARD_SWISH" else 2
        made.inputs, made.outputs = inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, kind), options
        self.graph.operators.append(made)
        return made

    def conv(self, source: int, result: int, fused: str = "NONE") -> None:
        weights = np.random.default_rng(result).integers(-127, 128, (16, 1, 1, 16), dtype=np.int8)
        w = self.tensor(f"w{result}", weights.shape, scale=0.002, data=weights)
        b = self.tensor(f"b{result}", (16,), "INT32", 0.00004, data=np.zeros(16, np.int32))
        options = schema.Conv2DOptionsT()
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, fused)
        self.op("CONV_2D", [source, w, b], [result], options)

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        litert.store(self.model, path)
        return path


def leaky_options(alpha: float = 0.1) -> Any:
    options = schema.LeakyReluOptionsT()
    options.alpha = alpha
    return options


def island(tiny: Tiny, source: int, result: int) -> int:
    """DEQUANTIZE -> LEAKY_RELU -> QUANTIZE, as the quantizer leaves it; the index of the float result."""
    real = tiny.tensor(f"real{result}", dtype="FLOAT32", scale=None)
    leaky = tiny.tensor(f"leaky{result}", dtype="FLOAT32", scale=None)
    tiny.op("DEQUANTIZE", [source], [real])
    tiny.op("LEAKY_RELU", [real], [leaky], leaky_options())
    tiny.op("QUANTIZE", [leaky], [result])
    return leaky


def activate(tiny: Tiny, kind: str, source: int, result: int) -> None:
    """The activation `kind` between two int8 tensors."""
    if kind == "leaky":
        tiny.op("LEAKY_RELU", [source], [result], leaky_options())
    elif kind == "hardswish":
        tiny.op("HARD_SWISH", [source], [result], schema.HardSwishOptionsT())
    elif kind == "island":
        island(tiny, source, result)
    elif kind == "silu":
        gate = tiny.tensor(f"gate{result}", scale=1 / 256, zero=-128)
        tiny.op("LOGISTIC", [source], [gate])
        tiny.op("MUL", [source, gate], [result], schema.MulOptionsT())
    else:
        raise ValueError(kind)


def network(path: Path, kind: str, end: str = "") -> Path:
    """conv -> activation -> conv -> activation -> conv, then the operator `end`; `relu` is fused into the convs."""
    tiny = Tiny()
    last = first = tiny.tensor("image", scale=1 / 255, zero=-128)
    for layer in range(2):
        result = tiny.tensor(f"act{layer}", zero=-100)
        if kind == "relu":
            tiny.conv(last, result, "RELU")
        else:
            raw = tiny.tensor(f"conv{layer}", scale=0.03)
            tiny.conv(last, raw)
            activate(tiny, kind, raw, result)
        last = result
    out = tiny.tensor("head")
    tiny.conv(last, out)
    if end:
        out, before = tiny.tensor("end", scale=1 / 256, zero=-128), out
        tiny.op(end, [before], [out])
    return tiny.write(path, [first], [out])
