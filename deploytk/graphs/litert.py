"""LiteRT: a .tflite flatbuffer as a list of nodes, read without running it (ai_edge_litert's schema)."""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deploytk.errors import InputError
from deploytk.files import written_whole

IDENTIFIER = b"TFL3"
#: The custom operator that Vela leaves where a command stream for the NPU is.
ETHOS_U = "ethos-u"
INTEGER = frozenset({"int4", "int8", "uint8", "int16"})
_FLOAT = frozenset({"float16", "float32", "float64", "bfloat16"})
#: The types of a constant whose one number is read.
_NUMBERS = frozenset({"float16", "float32", "int8", "uint8", "int16"})
#: What a damaged flatbuffer makes the generated reader raise.
_DAMAGE = (
    struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError,
)  # fmt: skip


#: Which inputs hold the weights and the values: (out, height, width, in), depthwise (1, height, width, out), (out, in).
_MACS = {
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 0),
    "FULLY_CONNECTED": (1, 0),
    "TRANSPOSE_CONV": (1, 2),
    "BATCH_MATMUL": (1, 0),
}


def _names(table: type) -> dict[int, str]:
    return {value: name for name, value in vars(table).items() if isinstance(value, int)}


_OPS, _TYPES, _FUSED = (_names(t) for t in (schema.BuiltinOperator, schema.TensorType, schema.ActivationFunctionType))


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of the graph; a quantized one has one scale, or one per channel along `axis`."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    constant: bool = False
    value: float | None = None  # of a constant with one element, a quantized one as the number that it stands for

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return self.dtype in _FLOAT


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator: `op` as TFLite names it (CONV_2D), or CUSTOM with its name in `custom`."""

    index: int
    op: str
    name: str  # of its first output, the name that Vela and Netron show
    inputs: tuple[Tensor, ...]  # optional ones that are left out do not appear
    outputs: tuple[Tensor, ...]
    activation: str = "NONE"  # fused into the operator: NONE, RELU, RELU6 ...
    custom: str = ""
    alpha: float | None = None  # LEAKY_RELU's slope below zero

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run; 0 for operators without weights."""
        sides = _MACS.get(self.op)
        if sides is None or len(self.inputs) <= max(sides):
            return 0
        weights, values = self.inputs[sides[0]].shape, self.inputs[sides[1]].shape
        if self.op == "TRANSPOSE_CONV":  # every input value meets (out, height, width) weights
            return math.prod(values) * math.prod(weights[:3])
        per_value = {"DEPTHWISE_CONV_2D": weights[1:3], "BATCH_MATMUL": values[-1:]}.get(self.op, weights[1:])
        return math.prod(self.outputs[0].shape) * math.prod(per_value)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The main subgraph of a .tflite file."""

    path: Path
    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    external_buffers: int = 0  # constants kept behind the flatbuffer, which Vela's legacy reader does not see
    subgraphs: int = 1

    @property
    def custom_ops(self) -> tuple[str, ...]:
        """The names of the custom operators, each once, sorted."""
        return tuple(sorted({node.custom for node in self.nodes if node.custom}))

    @property
    def compiled(self) -> bool:
        """Whether Vela has compiled this file already."""
        return ETHOS_U in self.custom_ops

    @property
    def integer_io(self) -> bool:
        """Whether every input and output is a quantized integer tensor."""
        return all(t.dtype in INTEGER for t in (*self.inputs, *self.outputs))

    @property
    def activation_dtypes(self) -> dict[str, int]:
        """How many computed tensors there are of each dtype, constants apart."""
        return dict(Counter(t.dtype for node in self.nodes for t in node.outputs))

    @property
    def float_nodes(self) -> tuple[Node, ...]:
        """The nodes that read or compute floating-point values."""
        return tuple(n for n in self.nodes if any(t.is_float for t in (*n.inputs, *n.outputs)))


def read(path: Path) -> Graph:
    """The graph in a .tflite file.

    Raises:
        InputError: not a TFLite flatbuffer, or a damaged one.
    """
    model = load(path)
    try:
        return _graph(path, model)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def load(path: Path) -> Any:
    """The file as the schema's mutable `ModelT`, for passes that rewrite it.

    Raises:
        InputError: not a TFLite flatbuffer, or a damaged one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if data[4:8] != IDENTIFIER:
        raise InputError(f"{path}: not a TFLite model (no TFL3 at byte 4); give a .tflite file")
    try:
        model = schema.ModelT.InitFromPackedBuf(data)
        _resolve(model, data)
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    return model


def inline(model: Any, data: bytes) -> int:
    """How many constants were moved from behind the flatbuffer `data` into the model."""
    outside = [b for b in model.buffers if b.offset > 1]
    for buffer in outside:
        buffer.data = np.frombuffer(data, dtype=np.uint8, count=buffer.size, offset=buffer.offset)
        buffer.offset = buffer.size = 0
    return len(outside)


def packed(model: Any) -> bytes:
    """A `ModelT` as the bytes of a .tflite file."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def store(model: Any, path: Path) -> None:
    """Write a `ModelT` to `path` atomically."""
    with written_whole(path) as temporary:
        temporary.write_bytes(packed(model))


def op_name(model: Any, operator: Any) -> str:
    """The TFLite name of an operator of a `ModelT`: CONV_2D, CUSTOM ..."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes above 127 do not fit the old byte: then it holds a placeholder, and the larger one is meant.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _OPS.get(number, f"OP_{number}")


def op_code(model: Any, name: str) -> int:
    """The index of a builtin operator in the model's table of codes, added where it is missing."""
    number = getattr(schema.BuiltinOperator, name)
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def dtype_of(tensor: Any) -> str:
    """The dtype of a `TensorT`, as numpy names it."""
    return _TYPES[tensor.type].lower()


def _graph(path: Path, model: Any) -> Graph:
    main = model.subgraphs[0]
    tensors = [_tensor(model, i, t) for i, t in enumerate(main.tensors)]
    return Graph(
        path=path,
        nodes=tuple(_node(model, i, o, tensors) for i, o in enumerate(_list(main.operators))),
        inputs=tuple(tensors[i] for i in _list(main.inputs)),
        outputs=tuple(tensors[i] for i in _list(main.outputs)),
        external_buffers=sum(1 for b in model.buffers if b.offset > 1),
        subgraphs=len(model.subgraphs),
    )


def _tensor(model: Any, index: int, tensor: Any) -> Tensor:
    quantization = tensor.quantization
    buffer = model.buffers[tensor.buffer]
    data = bytes(_list(buffer.data))
    return Tensor(
        index=index,
        name=_text(tensor.name),
        shape=tuple(int(d) for d in _list(tensor.shape)),
        dtype=dtype_of(tensor),
        scales=tuple(float(s) for s in _list(quantization and quantization.scale)),
        zero_points=tuple(int(z) for z in _list(quantization and quantization.zeroPoint)),
        axis=quantization.quantizedDimension if quantization else 0,
        constant=buffer.offset > 1 or len(data) > 0,
        value=_value(tensor, data),
    )


def _value(tensor: Any, data: bytes) -> float | None:
    """The one number in a constant's data; None of any other tensor."""
    kind = dtype_of(tensor)
    if kind not in _NUMBERS or len(data) != np.dtype(kind).itemsize:
        return None
    number, scaled = float(np.frombuffer(data, kind)[0]), tensor.quantization
    if scaled is None or len(_list(scaled.scale)) != 1:
        return number
    zero = _list(scaled.zeroPoint)
    return (number - float(zero[0] if len(zero) else 0)) * float(scaled.scale[0])


def _node(model: Any, index: int, operator: Any, tensors: list[Tensor]) -> Node:
    outputs = tuple(tensors[i] for i in _list(operator.outputs))
    options = operator.builtinOptions
    return Node(
        index=index,
        op=op_name(model, operator),
        name=outputs[0].name if outputs else "",
        inputs=tuple(tensors[i] for i in _list(operator.inputs) if i >= 0),
        outputs=outputs,
        activation=_FUSED[getattr(options, "fusedActivationFunction", 0)],
        custom=_text(model.operatorCodes[operator.opcodeIndex].customCode),
        alpha=float(options.alpha) if isinstance(options, schema.LeakyReluOptionsT) else None,
    )


def _resolve(model: Any, data: bytes) -> None:
    """Check every reference inside the file, so that nothing later trips over a damaged one."""
    if not model.subgraphs or not model.buffers:
        raise ValueError("it holds no graph")
    for buffer in model.buffers:
        if buffer.offset > 1 and buffer.offset + buffer.size > len(data):
            raise ValueError("a constant reaches behind the end of the file")
    for graph in model.subgraphs:
        if not len(_list(graph.operators)):
            raise ValueError("it holds a graph without operators")
        count = len(_list(graph.tensors))
        used = [i for o in graph.operators for side in (o.inputs, o.outputs) for i in _list(side)]
        ends = [*_list(graph.inputs), *_list(graph.outputs)]
        if any(not -1 <= i < count for i in used) or any(not 0 <= i < count for i in ends):
            raise ValueError("an operator names a tensor that is not there")
        if any(not 0 <= o.opcodeIndex < len(model.operatorCodes) for o in graph.operators):
            raise ValueError("an operator has no code")
        if any(not 0 <= t.buffer < len(model.buffers) for t in graph.tensors):
            raise ValueError("a tensor names a buffer that is not there")


def _list(values: Any) -> Any:
    return values if isinstance(values, np.ndarray | list) else []


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else (value or "")


def _damaged(path: Path, error: BaseException) -> InputError:
    return InputError(
        f"{path}: damaged or truncated TFLite model ({type(error).__name__}: {error}); copy or download it again"
    )
