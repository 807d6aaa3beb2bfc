"""What TensorRT's parser says of an ONNX file, without a GPU where TensorRT-RTX is there (tensorrt, tensorrt_rtx).

To be called in a child process: a parser can crash, and a temporary that Python has freed under it makes it do so.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk.runtimes import tensorrt_library
from deploytk.targets.tensorrt import network as networks


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
    trt, builder = networks.builder()
    network = builder.create_network(networks.typed_flag(trt))
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
        return {**told, "layers": network.num_layers, "computes": networks.computes(trt, network)}
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
    network = builder.create_network(networks.typed_flag(trt))
    parser = trt.OnnxParser(network, tensorrt_library.logger(trt))
    parser.supports_model_v2(Path(path).read_bytes(), path)
    return [list(parser.get_subgraph_nodes(i)) for i in range(parser.num_subgraphs)]
