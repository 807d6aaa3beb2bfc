"""An ONNX file parsed by TensorRT, and what its network would really compute in (the module `trt` is a parameter)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk.errors import InputError, MissingDependency, ParityFailed
from deploytk.runtimes import gpu
from deploytk.runtimes import tensorrt_library as library
from deploytk.runtimes.precision import told

#: How TensorRT calls its types -> how deploytk does.
_WORDS = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "FP8": "float8", "INT4": "int4"}
#: The type that an operator with weights must have in a model of each precision; INT8 is read off its Q layers.
_ASKED = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(kw_only=True)
class Parsed:
    """A network with what must outlive it: TensorRT crashes where builder or parser go before the network."""

    trt: ModuleType
    builder: Any
    parser: Any
    network: Any


def parsed(trt: ModuleType, model: Path) -> Parsed:
    """The network of an ONNX file, strongly typed: it computes in the types that the file has.

    Raises:
        MissingDependency: this TensorRT does nothing without a GPU.
        InputError: TensorRT does not take the file; each node that it refuses is named.
    """
    library.complaints()  # of what came before
    log = library.logger(trt)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what its constructor gives without a driver
        why = gpu.lacking() or "; ".join(library.complaints())
        raise MissingDependency(f"{library.named(trt)} cannot build an engine here: {why}") from error
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(model)):
        refused = refusals(parser) or library.complaints()
        raise InputError(
            f"{model}: {library.named(trt)} does not take it: {'; '.join(refused)}; "
            f"all of it by: deploytk check {model} --target tensorrt"
        )
    return Parsed(trt=trt, builder=builder, parser=parser, network=network)


def _flags(trt: ModuleType) -> int:
    """Strongly typed: what TensorRT 11 and TensorRT-RTX always are, and 10 is asked for."""
    if library.is_rtx(trt) or not trt.__version__.startswith("10."):
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def refusals(parser: Any) -> list[str]:
    """A sentence for each error of the parser: which node, its operator, and why as far as it says."""
    return [_refusal(parser.get_error(place)) for place in range(parser.num_errors)]


def _refusal(error: Any) -> str:
    said = " ".join(str(error.desc()).split())
    reason = "" if said in ("", "false") else f": {said}"
    where = f"{error.node_name()} ({error.node_operator()})" if error.node_operator() else "the file"
    return f"{where} is refused as {_name(error.code())}{reason}"


def _name(value: Any) -> str:
    return str(value.name if hasattr(value, "name") else value).rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the operators with weights of a network compute in, and how many tensors are rounded to INT8."""

    floats: dict[str, int]  # float type -> Conv, Deconv and MatMul
    quantizers: int

    @property
    def words(self) -> str:
        """`float16 (62 of 63 weighted operators), float32 (1)`, and how many tensors are INT8."""
        floats = told(self.floats, otherwise="no operator with weights")
        return f"{floats}, {self.quantizers} tensors rounded to int8" if self.quantizers else floats


def counted(trt: ModuleType, network: Any) -> Counts:
    """What a network computes in, layer by layer, before anything is built."""
    weighted = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    floats: Counter[str] = Counter()
    quantizers = 0
    for place in range(network.num_layers):
        layer = network.get_layer(place)
        if layer.type in weighted:
            kind = _name(layer.get_output(0).dtype)
            floats[_WORDS.get(kind, kind.lower())] += 1
        quantizers += int(layer.type == trt.LayerType.QUANTIZE)
    return Counts(floats=dict(floats), quantizers=quantizers)


def require_precision(name: str, precision: str, counts: Counts) -> None:
    """Nothing, where the network computes in what was asked for: TensorRT 11 builds float32 without a word otherwise.

    Raises:
        ParityFailed: no operator does.
    """
    if precision == "int8":
        missing = "" if counts.quantizers else "no tensor of it is rounded to INT8"
    else:
        missing = "" if counts.floats.get(_ASKED[precision]) else f"its operators with weights are {counts.words}"
    if missing:
        raise ParityFailed(f"{name}: {precision} was asked for, and {missing}; nothing was built")
