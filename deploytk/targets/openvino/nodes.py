"""The operators of an OpenVINO model by the names of its ONNX: which hold weights, and which come after the last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploytk.errors import InputError
from deploytk.plugins import suggestion

#: Operators whose multiplications INT8 is about.
WEIGHTED = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)
_UNNAMED = frozenset({"Parameter", "Constant", "Result", "FakeQuantize"})
#: How OpenVINO names a convolution whose bias became an Add of its own; the Add keeps the ONNX node's name.
_SPLIT = "/WithoutBiases"


def name(node: Any) -> str:
    """The name of the ONNX node that an operator comes from."""
    return str(node.friendly_name).removesuffix(_SPLIT)


def rename_last(model: Any, names: Mapping[str, str]) -> None:
    """Give the operators that make the outputs the names of their ONNX nodes; OpenVINO names them as the outputs.

    Args:
        names: name of an output -> name of the ONNX node that makes it.
    """
    last = {output: own for output, own in names.items() if output != own}
    for node in model.get_ops():
        if name(node) in last and node.get_type_name() not in _UNNAMED:
            node.friendly_name = node.friendly_name.replace(name(node), last[name(node)], 1)


def weighted(model: Any) -> list[Any]:
    """The operators with multiplications by weights, in the order of the graph."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in WEIGHTED]


def quantizers(model: Any) -> list[Any]:
    """The FakeQuantize operators: where NNCF has made a tensor INT8."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]


def consumers(node: Any) -> Iterator[Any]:
    """The operators that take an output of this one."""
    for output in node.outputs():
        for taken in output.get_target_inputs():
            yield taken.get_node()


def tail(model: Any) -> list[str]:
    """The friendly names of the operators behind the last weights on every path: the decoding of a detector.

    Nothing is won by INT8 there, and one scale for coordinates in pixels and scores of 0 to 1 would lose the scores.
    """
    before: set[str] = set()
    biases = {name(node) for node in weighted(model)}
    for node in reversed(model.get_ordered_ops()):
        leads = any(after.get_type_name() in WEIGHTED or after.friendly_name in before for after in consumers(node))
        if leads or node.get_type_name() in WEIGHTED:
            before.add(node.friendly_name)
    kept = before | biases
    ordered = [node for node in model.get_ordered_ops() if node.get_type_name() not in _UNNAMED]
    return [str(node.friendly_name) for node in ordered if node.friendly_name not in kept]


def friendly(model: Any, names: Iterable[str]) -> list[str]:
    """The friendly names of the operators that the ONNX nodes of these names became.

    Raises:
        InputError: the model has no such node; the nearest name is suggested.
    """
    known: dict[str, list[str]] = {}
    for node in model.get_ops():
        if node.get_type_name() not in _UNNAMED:
            known.setdefault(name(node), []).append(str(node.friendly_name))
    for wanted in names:
        if wanted not in known:
            raise InputError(f"the model has no node {wanted!r} to keep in float{suggestion(wanted, known)}")
    return [each for wanted in names for each in known[wanted]]
