"""A float ONNX file as an INT8 one in QDQ form, its ranges from real images, for ONNX Runtime on this CPU."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import onnx

from deploytk import usage
from deploytk.files import written_whole
from deploytk.recipe import Recipe
from deploytk.targets.onnx import biases, gates, preparing, qdq, schemes, smoothing
from deploytk.targets.onnx.ranges import Method, ranges
from deploytk.targets.onnx.running import Feeds
from deploytk.targets.onnx.scope import scope

#: Correction -> how ranges are found; from the extremes for the others.
METHODS: dict[str, Method] = {"percentile": "percentile", "entropy": "entropy"}


def quantize_graph(model: Path, feeds: Feeds, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Write the INT8 version of the float model to `out`, as the recipe says.

    Returns:
        calibration_images; quantized_ops and float_ops, how many weighted operators are in INT8 and in float;
        float_nodes, the names of the latter; scheme, correction and corrected_ops, on how many operators it worked;
        precision as ONNX Runtime runs it; outputs_sqnr_db, exact_sqnr_db and worst_layers (`gates.compared`); seconds,
        peak_rss_mb.

    Raises:
        InputError: not a float model that can be quantized, a node that it does not have, no or unusable images.
        ParityFailed: nothing in INT8, outputs that say nothing any more, or integer kernels that saturate on this CPU.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole, graph = preparing.prepared(model, Path(folder) / "float.onnx")
    wanted = scope(graph, recipe.float_nodes)
    types = schemes.types(recipe.scheme)
    gates.require_integers(out.name, wanted.weighted)
    corrected: tuple[str, ...] = ()
    if recipe.correction == "smooth_quant":
        whole, corrected = smoothing.smoothed(whole, graph, wanted, feeds)
    found, images = ranges(whole, wanted.tensors, feeds, METHODS.get(recipe.correction, "minmax"))
    made = qdq.quantized(whole, found, wanted, types)
    if recipe.correction == "fast_bias":
        shifted, corrected = biases.corrected(whole, made, graph, wanted.weighted, feeds)
        made = qdq.quantized(shifted, found, wanted, types)
    gates.require_integers(out.name, qdq.in_integers(made, wanted))
    distance = gates.compared(out.name, whole, made, feeds)
    with written_whole(out) as temporary:
        onnx.save(made, temporary)
        precision = gates.precision(temporary)
    return {
        "calibration_images": images,
        "quantized_ops": len(wanted.weighted),
        "float_ops": len(wanted.kept),
        "float_nodes": list(wanted.kept),
        "scheme": types.told,
        "correction": recipe.correction,
        "corrected_ops": len(corrected),
        "precision": precision,
        **distance,
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_mb": usage.peak_rss_mb(),
    }
