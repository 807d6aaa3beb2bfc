"""A float ONNX file as an INT8 one that TensorRT takes: symmetric per-channel QDQ, float bias, the rest float16."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from deploytk import usage
from deploytk.files import written_whole
from deploytk.recipe import Recipe
from deploytk.targets.onnx import biases, gates, preparing, qdq, quantization, schemes, smoothing
from deploytk.targets.onnx.ranges import ranges
from deploytk.targets.onnx.running import Feeds
from deploytk.targets.onnx.scope import decoding, scope
from deploytk.targets.onnx.sensitivity import sensitivities
from deploytk.targets.tensorrt import floats

__all__ = ["quantize_graph", "sensitivities"]

#: TensorRT refuses zero points and INT32 biases; its INT8 kernels sum in 32 bits, so weights keep their 8.
_TYPES = schemes.Types(name="s8s8", reduce_range=False, integer_bias=False)


def quantize_graph(model: Path, feeds: Feeds, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Write the INT8 version of the float model to `out`, as the recipe says; its scheme is TensorRT's only one.

    Only what Conv, Gemm and MatMul with weights read is rounded: TensorRT fuses what lies between by itself. What is
    not INT8 is float16, without which a strongly typed network would compute it in float32; decoding stays float32.

    Returns:
        as `targets.onnx.quantization.quantize_graph`; outputs are compared as they are written.

    Raises:
        InputError: not a float model that can be quantized, a node that it does not have, no or unusable images.
        ParityFailed: nothing in INT8, or outputs that say nothing any more.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole, graph = preparing.prepared(model, Path(folder) / "float.onnx")
    wanted = replace(scope(graph, recipe.float_nodes), between=())
    gates.require_integers(out.name, wanted.weighted)
    corrected: tuple[str, ...] = ()
    if recipe.correction == "smooth_quant":
        whole, corrected = smoothing.smoothed(whole, graph, wanted, feeds)
    method = quantization.METHODS.get(recipe.correction, "minmax")
    found, images = ranges(whole, wanted.tensors, feeds, method)
    made = qdq.quantized(whole, found, wanted, _TYPES)
    if recipe.correction == "fast_bias":
        shifted, corrected = biases.corrected(whole, made, graph, wanted.weighted, feeds)
        made = qdq.quantized(shifted, found, wanted, _TYPES)
    integers = qdq.in_integers(made, wanted)
    gates.require_integers(out.name, integers)
    distance = gates.compared(out.name, whole, made, feeds, exact=True)
    half = floats.halved(made, decoding(graph))
    with written_whole(out) as temporary:
        onnx.save(half, temporary)
    return {
        "calibration_images": images,
        "quantized_ops": len(integers),
        "float_ops": len(wanted.kept),
        "float_nodes": list(wanted.kept),
        "scheme": _TYPES.told,
        "correction": recipe.correction,
        "corrected_ops": len(corrected),
        "weighted": dict(floats.weighted_types(half)),
        **distance,
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_mb": usage.peak_rss_mb(),
    }
