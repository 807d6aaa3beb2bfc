"""What TensorRT's parser says of an ONNX file, without a GPU where TensorRT-RTX is there (tensorrt, tensorrt_rtx).

To be called in a child process: a parser can crash, and a temporary that Python has freed under it makes it do so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk.errors import MissingDependency
from deploytk.runtimes import tensorrt_library

_WORDS = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "FP8": "float8"}
_NO_GPU = (
    "TensorRT reads a model on a machine with an NVIDIA GPU only. TensorRT-RTX reads it without one; install it with: "
    "pip install 'deploytk[tensorrt]'"
)


def parsed(path: str, ops: Collection[str]) -> dict[str, Any]:
    """What the parser says: library, rtx, accepted, complaints, lacking, parts, and layers and computes if it accepts.

    Args:
        ops: the operators of the model; `lacking` are those that the parser does not have.

    Returns:
        complaints are {code, op, name, index, inside, said}, index -1 for the file, and inside the If, Loop or function
        in whose body the node stands; parts are lists of node places that hang
        together between what is refused; computes is {"int8": 50, "float32": 3}: the layers with weights by the type
        that they compute in.

    Raises:
        MissingDependency: no TensorRT, or one that wants a GPU to read a model.
    """
    trt, builder = _builder()
    network = builder.create_network(_typed(trt))
    parser = trt.OnnxParser(network, tensorrt_library.logger(trt))
    accepted = bool(parser.parse_from_file(path))
    told = {
        "library": tensorrt_library.named(trt),
        "rtx": tensorrt_library.is_rtx(trt),
        "accepted": accepted,
        "complaints": [_complaint(parser.get_error(i)) for i in range(parser.num_errors)],
        "lacking": sorted(op for op in ops if not parser.supports_operator(op)),
        "parts": [],
        "layers": 0,
        "computes": {},
    }
    if accepted:
        return {**told, "layers": network.num_layers, "computes": computes(trt, network)}
    return {**told, "parts": _parts(trt, builder, path), "log": tensorrt_library.complaints()[-20:]}


def available() -> list[dict[str, Any]]:
    """Each TensorRT that is installed: library, problem (why it cannot read models here; "": it can), capabilities.

    capabilities are the compute capabilities that it builds for, where it says so: TensorRT-RTX does.

    Raises:
        MissingDependency: none is installed.
    """
    return [
        {"library": tensorrt_library.named(trt), "problem": _problem(trt), "capabilities": _capabilities(trt)}
        for trt in tensorrt_library.libraries()
    ]


def _problem(trt: ModuleType) -> str:
    try:
        trt.Builder(tensorrt_library.logger(trt))
    except TypeError:  # "factory function returned nullptr": no driver
        return tensorrt_library.last_words()
    return ""


def _capabilities(trt: ModuleType) -> list[str]:
    names = dir(getattr(trt, "ComputeCapability", None))
    numbers = [name.removeprefix("SM") for name in names if name.startswith("SM")]
    return [f"{number[:-1]}.{number[-1]}" for number in numbers]


def _builder() -> tuple[ModuleType, Any]:
    """The first TensorRT that makes a builder here: that of TensorRT needs a GPU, TensorRT-RTX's does not."""
    for trt in tensorrt_library.libraries():
        try:
            return trt, trt.Builder(tensorrt_library.logger(trt))
        except TypeError:  # no driver
            continue
    raise MissingDependency(_NO_GPU)


def _typed(trt: ModuleType) -> int:
    """The flag of a network that computes as its graph says; since TensorRT 11 each does."""
    if tensorrt_library.is_rtx(trt) or int(trt.__version__.split(".")[0]) >= 11:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _complaint(error: Any) -> dict[str, Any]:
    return {
        "code": error.code().name,
        "op": error.node_operator(),
        "name": error.node_name(),
        "index": error.node(),
        "inside": list(error.local_function_stack()),
        "said": _told(error.desc()),
    }


def _told(text: str) -> str:
    """The first thing a complaint says, in one line: without the place in NVIDIA's sources and the function's name."""
    first = next((line for line in text.splitlines() if line and not line.startswith("Invalid Node - ")), "")
    quoted = re.search(r'&& "([^"]+)"', first)
    if quoted:
        return quoted[1]
    first = re.sub(r"\s*In \w+ at \S+:\d+\)?$", "", first)
    first = re.sub(r"^(\[.*\]|[\w:]+:) Error Code \d+: [\w ]+ \(", "", first)
    return first.rpartition("Assertion failed: ")[2][:300] or "it does not say why"


def _parts(trt: ModuleType, builder: Any, path: str) -> list[list[int]]:
    """The places of the nodes that hang together between those that the parser refuses."""
    network = builder.create_network(_typed(trt))
    parser = trt.OnnxParser(network, tensorrt_library.logger(trt))
    parser.supports_model_v2(Path(path).read_bytes(), path)
    return [list(parser.get_subgraph_nodes(i)) for i in range(parser.num_subgraphs)]


def computes(trt: ModuleType, network: Any) -> dict[str, int]:
    """How many layers with weights (convolutions, matrix products) compute in which type, in a network as written.

    INT8 are those whose inputs are all dequantized: the builder makes one kernel on integers of them.
    """
    weighted = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    narrow = {_name(layer.get_output(0)): layer for layer in layers if layer.type == trt.LayerType.DEQUANTIZE}
    found: Counter[str] = Counter()
    for layer in layers:
        if layer.type in weighted:
            sources = [_source(narrow, layer.get_input(i)) for i in range(min(2, layer.num_inputs))]
            kind = layer.get_output(0).dtype.name
            if len(sources) == 2 and all(source is not None for source in sources):
                kind = sources[0].get_input(0).dtype.name  # type: ignore[union-attr]
            found[_WORDS.get(kind, kind.lower())] += 1
    return dict(found)


def _source(narrow: dict[str, Any], tensor: Any) -> Any | None:
    return narrow.get(_name(tensor)) if tensor is not None else None


def _name(tensor: Any) -> str:
    return str(tensor.name)
