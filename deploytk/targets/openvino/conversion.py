"""An ONNX file as an OpenVINO IR: an .xml with its .bin, in float or with float16 weights (openvino)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from deploytk.errors import InputError, ParityFailed
from deploytk.files import size_of, written_whole
from deploytk.graphs import onnx as graphs
from deploytk.runtimes.openvino import one_core, why
from deploytk.runtimes.openvino_library import ov
from deploytk.targets.openvino import nodes

Precision = Literal["fp32", "fp16"]

_FLOATS = {"f32", "f16", "bf16", "f64"}


def convert(onnx: Path, out: Path, precision: Precision) -> dict[str, Any]:
    """Write the IR of an ONNX file: names and a free batch kept, weights as float32 or, with "fp16", as float16.

    Returns:
        weights (element type -> how many constants), batch ("free" or a number), bytes.

    Raises:
        InputError: OpenVINO cannot convert the file.
        ParityFailed: what was written has other inputs or outputs, or weights in another precision.
    """
    model = opened(onnx)
    write(model, out, half=precision == "fp16")
    made = one_core().read_model(out)
    if signature(made) != signature(model):
        raise ParityFailed(f"{out}: takes and gives {signature(made)}, and the ONNX {signature(model)}")
    weights = _weights(made)
    if bool(weights["f16"]) != (precision == "fp16"):
        raise ParityFailed(f"{out}: {precision} was asked for, and its weights are {dict(weights)}")
    free = model.inputs[0].partial_shape[0]
    batch = "free" if free.is_dynamic else free.get_length()
    return {"weights": dict(weights), "batch": batch, "bytes": size_of(out)}


def opened(onnx: Path) -> Any:
    """The model of an ONNX file, its constants folded and its activations fused, nodes by the names of the ONNX.

    Raises:
        InputError: no ONNX file, or OpenVINO cannot convert it.
    """
    graph = graphs.read(onnx)
    try:
        model = ov.convert_model(onnx)
    except (RuntimeError, ov.frontend.OpConversionFailure) as error:
        raise InputError(f"{onnx}: OpenVINO cannot convert it: {why(error)}") from error
    nodes.rename_last(model, {output.name: graph.makers[output.name].name for output in graph.outputs})
    return model


def write(model: Any, out: Path, *, half: bool) -> None:
    """Write both files of an IR, each whole, the weights first; `half` stores float weights as float16."""
    with written_whole(out) as graph, written_whole(out.with_suffix(".bin")):
        # The second file is `graph` with .bin: the name that OpenVINO gives the weights.
        ov.save_model(model, graph, compress_to_fp16=half)


def signature(model: Any) -> list[tuple[str, str]]:
    """The name and shape of each input and output."""
    return [(port.any_name, str(port.partial_shape)) for port in (*model.inputs, *model.outputs)]


def _weights(model: Any) -> Counter[str]:
    """The element types of the constants that hold weights: floats of more than one value."""
    constants = [op.output(0) for op in model.get_ops() if op.get_type_name() == "Constant"]
    kinds = [(port.get_element_type().get_type_name(), list(port.get_shape())) for port in constants]
    return Counter(kind for kind, shape in kinds if kind in _FLOATS and len(shape) > 1)
