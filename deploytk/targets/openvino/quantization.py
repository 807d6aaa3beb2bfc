"""An ONNX file as an INT8 OpenVINO IR: the ranges from real inputs, one image at a time (nncf)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import usage, worker
from deploytk.errors import InputError
from deploytk.recipe import Recipe
from deploytk.targets.openvino import guards, nodes
from deploytk.targets.openvino.conversion import opened, write
from deploytk.targets.openvino.library import AdvancedSmoothQuantParameters, RangeEstimatorParametersSet, nncf, ov

Feeds = Callable[[], Iterator[np.ndarray]]

#: How far SmoothQuant moves the range of an outlier channel from the activations into the weights: half way.
SMOOTH = 0.5


def quantize_graph(model: Path, feeds: Feeds, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Write the INT8 version of an ONNX file as an IR; what comes after the last weights stays in float.

    Args:
        feeds: each call starts a pass over the calibration inputs, (1, C, H, W) float32 one at a time.

    Returns:
        calibration_images, quantized_ops and float_ops (operators with weights, as they really compute here),
        quantizers, scheme, correction, float_nodes, seconds, peak_rss_mb.

    Raises:
        InputError: no inputs, other inputs than the model's, or a node to keep in float that is not there.
        ParityFailed: nothing was quantized, or the outputs collapsed.
    """
    started, source = time.monotonic(), opened(model)
    passes = Passes(feeds, source)
    made = quantized(source, passes, recipe)
    write(made, out, half=False)
    facts = guards.proved(source, out, passes.first(guards.LOOKED_AT))
    return {
        "calibration_images": passes.count,
        **facts,
        "scheme": "u8s8, symmetric, weights per channel",
        "correction": recipe.correction,
        "float_nodes": list(recipe.float_nodes),
        "seconds": time.monotonic() - started,
        "peak_rss_mb": usage.peak_rss_mb(),
    }


@dataclass
class Passes:
    """The calibration inputs as NNCF takes them: any number of passes, each input looked at, none kept."""

    feeds: Feeds
    model: Any

    def __post_init__(self) -> None:
        self.count = sum(1 for _ in self._checked())
        if not self.count:
            raise InputError("calibration needs real inputs and was given none")

    def __iter__(self) -> Iterator[np.ndarray]:
        """One pass, telling how far it is."""
        for done, feed in enumerate(self.feeds(), start=1):
            worker.emit(done=done, total=self.count, text=f"calibrated on {done} images")
            yield feed

    def first(self, count: int) -> list[np.ndarray]:
        """The first inputs of a pass."""
        return [feed for _, feed in zip(range(count), self.feeds(), strict=False)]

    def _checked(self) -> Iterator[np.ndarray]:
        shape = self.model.inputs[0].partial_shape
        for feed in self.feeds():
            if (
                feed.dtype != np.float32
                or not shape.compatible(ov.PartialShape(list(feed.shape)))
                or not np.isfinite(feed).all()
            ):
                raise InputError(
                    f"a calibration input must be finite float32 {shape}, not {feed.dtype.name} {list(feed.shape)}"
                )
            yield feed


def quantized(source: Any, passes: Passes, recipe: Recipe, **advanced: Any) -> Any:
    """The INT8 version of an OpenVINO model by one recipe; `advanced` are further settings of NNCF's."""
    return nncf.quantize(
        source,
        nncf.Dataset(passes),
        subset_size=passes.count,
        # NNCF smooths only what is called a transformer; the preset keeps activations symmetric there too.
        model_type=nncf.ModelType.TRANSFORMER if recipe.correction == "smooth_quant" else None,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        ignored_scope=in_float(source, recipe),
        advanced_parameters=settings(recipe, **advanced),
    )


def in_float(source: Any, recipe: Recipe) -> Any:
    """NNCF's scope of the operators that stay in float: those of the recipe, and all behind the last weights."""
    names = dict.fromkeys([*nodes.friendly(source, recipe.float_nodes), *nodes.tail(source)])
    return nncf.IgnoredScope(names=list(names), validate=False)


def settings(recipe: Recipe, **advanced: Any) -> Any:
    """NNCF's settings for one recipe."""
    made = nncf.AdvancedQuantizationParameters(**advanced)
    made.disable_bias_correction = recipe.correction != "fast_bias"
    # NNCF's own mean over the images clips what only some of them reach; on a trained YOLOv8n the scores came out 1 dB
    # worse (docs/openvino.md).
    ranges = RangeEstimatorParametersSet
    percentile = recipe.correction == "percentile"
    made.activations_range_estimator_params = ranges.MEAN_QUANTILE if percentile else ranges.MINMAX
    if recipe.correction == "smooth_quant":
        made.smooth_quant_alphas = AdvancedSmoothQuantParameters(convolution=SMOOTH, matmul=SMOOTH)
    return made
