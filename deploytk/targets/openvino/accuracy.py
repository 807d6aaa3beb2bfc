"""NNCF's accuracy control: operators go back to float, the most harmful first, until the task metric is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import usage
from deploytk.errors import ParityFailed
from deploytk.recipe import Recipe
from deploytk.runtimes.openvino import DEVICE
from deploytk.targets.openvino import guards
from deploytk.targets.openvino.conversion import opened, write
from deploytk.targets.openvino.library import nncf, ov
from deploytk.targets.openvino.prediction import Predict, predictor
from deploytk.targets.openvino.quantization import Feeds, Passes, in_float, settings

Validate = Callable[[Predict], float]

#: Inputs on whose outputs NNCF ranks the operators; it keeps the outputs of all of them.
_RANKED_ON = 16
#: With more groups of operators in float the model is hardly INT8 any more, and each costs a validation.
_MOST_REVERTED = 16


def with_accuracy_control(model: Path, feeds: Feeds, validate: Validate, max_drop: float, out: Path) -> dict[str, Any]:
    """Write the INT8 version of an ONNX file that loses at most `max_drop` of what `validate` measures.

    NNCF hands back a model that missed it with no more than a line in its log, or a plain float one: the file is
    measured again as it was written.

    Args:
        validate: the task metric of any `predict(NCHW float32) -> decoded outputs`.

    Returns:
        as `quantize_graph`, and metric, float_metric, drop.

    Raises:
        InputError: no inputs, or other inputs than the model's.
        ParityFailed: it lost more than that, or is no INT8 model.
    """
    started, source = time.monotonic(), opened(model)
    passes = Passes(feeds, source)
    write(_controlled(source, passes, validate, max_drop), out, half=False)
    facts = guards.proved(source, out, passes.first(guards.LOOKED_AT))
    before, after = validate(_predict(ov.Core().compile_model(source, DEVICE, guards.EXACT))), validate(predictor(out))
    if before - after > max_drop:
        raise ParityFailed(
            f"{out.name}: NNCF's accuracy control ended at {after:.4f}, {before - after:.4f} below the float model's "
            f"{before:.4f}; {max_drop:.4f} is allowed"
        )
    return {
        "calibration_images": passes.count,
        **facts,
        "metric": after,
        "float_metric": before,
        "drop": before - after,
        "seconds": time.monotonic() - started,
        "peak_rss_mb": usage.peak_rss_mb(),
    }


def _controlled(source: Any, passes: Passes, validate: Validate, max_drop: float) -> Any:
    """What NNCF's accuracy control hands back, whether or not it kept the metric."""
    recipe = Recipe(correction="fast_bias")
    return nncf.quantize_with_accuracy_control(
        source,
        nncf.Dataset(passes),
        nncf.Dataset(passes.first(_RANKED_ON)),
        _validation(validate),
        max_drop=max_drop,
        subset_size=passes.count,
        ignored_scope=in_float(source, recipe),
        advanced_quantization_parameters=settings(recipe),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=_MOST_REVERTED, num_ranking_workers=1
        ),
    )


def _validation(validate: Validate) -> Callable[[Any, Iterable[np.ndarray]], tuple[float, list[list[np.ndarray]]]]:
    """The function that NNCF calls: the task metric, and the outputs for each item by which it ranks the operators."""

    def measured(model: Any, items: Iterable[np.ndarray]) -> tuple[float, list[list[np.ndarray]]]:
        predict = _predict(model)
        return validate(predict), [[predict(item)] for item in items]

    return measured


def _predict(model: Any) -> Predict:
    """`predict(NCHW float32) -> the first output` of a compiled model, image by image."""
    return lambda images: np.concatenate([model(images[i : i + 1])[0].copy() for i in range(len(images))])
