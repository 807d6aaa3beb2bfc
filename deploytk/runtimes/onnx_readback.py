"""The precision in which ONNX Runtime really runs a model: counted in the graph it makes of the file."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnx import TensorProto

from deploytk.runtimes import precision

_DYNAMIC = "DynamicQuantizeLinear"
#: Operators that compute in integers; those in the second set quantize their input themselves, call by call.
_INTEGER = frozenset(
    {"QLinearConv", "QLinearMatMul", "QGemm", "QAttention", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"}
)
_SELF_QUANTIZING = frozenset({"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
#: Operators whose second input is the weight.
_WEIGHTED = frozenset(
    {
        "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "LSTM",
        "GRU", "RNN", "Attention",
    }
)  # fmt: skip
_NAMES = {
    TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64",
    TensorProto.BFLOAT16: "bfloat16",
}  # fmt: skip
#: What only moves or expands a weight on its way to its operator.
_MOVES = frozenset({"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze"})


def effective(path: Path, options: Callable[[], ort.SessionOptions], providers: Sequence[str]) -> str:
    """The words for the precision of a file run with these options.

    A file of plain float32 is what it says. Of any other, ONNX Runtime's own graph is read: it fuses only some of the
    quantized operators, and runs float16 in float32 where it has no kernel.
    """
    model = onnx.load(str(path), load_external_data=False)
    if not _is_plain(model):
        model = _executed(path, options(), providers)
    return precision.told(_counted(model), otherwise="float32")


def stored(path: Path) -> str:
    """The words for the precision in which the weights of a file arrive at their operators, whoever runs it."""
    return precision.told(_counted(onnx.load(str(path), load_external_data=False)), otherwise="float32")


def _is_plain(model: Any) -> bool:
    reduced = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT8}
    types = {w.data_type for w in model.graph.initializer}
    types |= {value.type.tensor_type.elem_type for value in model.graph.input}
    types |= {
        a.t.data_type for node in model.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR
    }
    ops = {node.op_type for node in model.graph.node}
    return not (model.functions or types & reduced or any("quant" in op.lower() or op[0] == "Q" for op in ops))


def _executed(path: Path, options: ort.SessionOptions, providers: Sequence[str]) -> Any:
    """The graph that ONNX Runtime runs, without its weights."""
    with tempfile.TemporaryDirectory(prefix="deploytk-") as folder:
        written = Path(folder) / "executed.onnx"
        options.optimized_model_filepath = str(written)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        ort.InferenceSession(str(path), sess_options=options, providers=list(providers))
        return onnx.load(str(written), load_external_data=False)


def _counted(model: Any) -> Counter[str]:
    """Precision -> how many operators with weights compute in it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    weights = {w.name: w.data_type for w in model.graph.initializer}
    return Counter(kind for node in model.graph.node for kind in _kind(node, makers, weights))


def _kind(node: Any, makers: dict[str, Any], weights: dict[str, int]) -> Iterator[str]:
    if node.op_type == "MatMulNBits":
        bits = next((a.i for a in node.attribute if a.name == "bits"), 4)
        yield f"float32 with int{bits} weights"
    elif node.op_type in _SELF_QUANTIZING:
        yield "dynamic int8"
    elif node.op_type in _INTEGER:
        first = makers.get(node.input[0])
        yield "dynamic int8" if first is not None and first.op_type == _DYNAMIC else "int8"
    elif node.op_type in _WEIGHTED and len(node.input) > 1:
        number = _weight_type(node.input[1], makers, weights)
        if number is not None:
            yield _NAMES.get(number, TensorProto.DataType.Name(number).lower())


def _weight_type(name: str, makers: dict[str, Any], weights: dict[str, int]) -> int | None:
    """The element type in which a constant arrives at its operator; None for what is no constant."""
    if name in weights:
        return weights[name]
    maker = makers.get(name)
    if maker is None:
        return None
    given = {a.name: a for a in maker.attribute}
    if maker.op_type == "Cast":
        known = _weight_type(maker.input[0], makers, weights)
        return None if known is None else int(given["to"].i)
    if maker.op_type == "DequantizeLinear":
        return _weight_type(maker.input[1], makers, weights)  # values have the type of the scale
    if maker.op_type in ("Constant", "ConstantOfShape"):
        return int(given["value"].t.data_type) if "value" in given else int(TensorProto.FLOAT)
    return _weight_type(maker.input[0], makers, weights) if maker.op_type in _MOVES else None
