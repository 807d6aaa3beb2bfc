"""An ONNX file parsed by TensorRT, and what its network would really compute in (the module `trt` is a parameter)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk.errors import InputError, MissingDependency, ParityFailed
from deploytk.runtimes import tensorrt_library as library
from deploytk.runtimes.precision import told

#: How TensorRT calls its types -> how deploytk does.
_WORDS = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "FP8": "float8", "INT4": "int4"}
#: The type that an operator with weights must have in a model of each precision.
_ASKED = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
_NO_GPU = (
    "TensorRT reads and builds a model on a machine with an NVIDIA GPU only. TensorRT-RTX does so without one; "
    "install it with: pip install 'deploytk[tensorrt]'"
)


@dataclass(kw_only=True)
class Parsed:
    """A network with what must outlive it: TensorRT crashes where builder or parser go before the network."""

    trt: ModuleType
    builder: Any
    parser: Any
    network: Any


def builder() -> tuple[ModuleType, Any]:
    """The first TensorRT that makes a builder here, and that: TensorRT's needs a GPU, TensorRT-RTX's does not.

    Raises:
        MissingDependency: none is installed, or one that does nothing without a GPU.
    """
    for trt in library.libraries():
        try:
            return trt, trt.Builder(library.logger(trt))
        except TypeError:  # what its constructor gives without a driver
            continue
    raise MissingDependency(_NO_GPU)


def parsed(model: Path) -> Parsed:
    """The network of an ONNX file, strongly typed: it computes in the types that the file has.

    Raises:
        MissingDependency: as `builder`.
        InputError: TensorRT does not take the file; each node that it refuses is named.
    """
    library.complaints()  # of what came before
    trt, made = builder()
    network = made.create_network(typed_flag(trt))
    parser = trt.OnnxParser(network, library.logger(trt))
    if not parser.parse_from_file(str(model)):
        refused = refusals(parser) or library.complaints()
        raise InputError(
            f"{model}: {library.named(trt)} does not take it: {'; '.join(refused)}; "
            f"all of it by: deploytk check {model} --target tensorrt"
        )
    return Parsed(trt=trt, builder=made, parser=parser, network=network)


def typed_flag(trt: ModuleType) -> int:
    """The flag of a network that computes as its graph says; since TensorRT 11 each does, and in TensorRT-RTX."""
    if library.is_rtx(trt) or int(trt.__version__.split(".")[0]) >= 11:
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


def computes(trt: ModuleType, network: Any) -> dict[str, int]:
    """How many layers with weights (convolutions, matrix products) compute in which type, in a network as written.

    INT8 are those whose inputs are all dequantized: the builder makes one kernel on integers of them.
    """
    weighted = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    narrow = {str(layer.get_output(0).name): layer for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}
    found: Counter[str] = Counter()
    for layer in layers:
        if layer.type in weighted:
            read = [layer.get_input(i) for i in range(min(2, layer.num_inputs))]
            sources = [narrow.get(str(tensor.name)) for tensor in read if tensor is not None]
            kind = _name(layer.get_output(0).dtype)
            if len(sources) == 2 and all(source is not None for source in sources):
                kind = _name(sources[0].get_input(0).dtype)  # type: ignore[union-attr]
            found[_WORDS.get(kind, kind.lower())] += 1
    return dict(found)


def in_words(found: Mapping[str, int]) -> str:
    """`float16 (62 of 63 weighted operators), float32 (1)`."""
    return told(found, otherwise="no operator with weights")


def require_precision(name: str, precision: str, found: Mapping[str, int]) -> None:
    """Nothing, where the network computes in what was asked for: TensorRT 11 builds float32 without a word otherwise.

    Raises:
        ParityFailed: no operator does.
    """
    if not found.get(_ASKED[precision]):
        told = in_words(found)
        raise ParityFailed(f"{name}: {precision} was asked for, and what has weights is {told}; nothing was built")
