"""NNCF's accuracy control: operators go back to float, the most harmful first, until the task metric is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import usage
from deploytk.errors import ParityFailed
from deploytk.recipe import Recipe
from deploytk.runtimes.openvino import DEVICE, one_core
from deploytk.targets.openvino import guards
from deploytk.targets.openvino.conversion import opened, write
from deploytk.targets.openvino.library import nncf
from deploytk.targets.openvino.prediction import Predict, predictor
from deploytk.targets.openvino.quantization import Feeds, Passes, in_float, settings
from deploytk.targets.openvino.sensitivity import sqnr_db

Validate = Callable[[Predict], float]

#: Inputs on whose outputs the operators are ranked.
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
    before, after = validate(_predict(_compiled(source))), validate(predictor(out))
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
    recipe, items = Recipe(), passes.first(_RANKED_ON + 1)
    return nncf.quantize_with_accuracy_control(
        source,
        nncf.Dataset(passes),
        nncf.Dataset(items),
        _Validation(validate, items, _predict(_compiled(source))),
        max_drop=max_drop,
        subset_size=passes.count,
        ignored_scope=in_float(source, recipe),
        advanced_quantization_parameters=settings(recipe),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=_MOST_REVERTED, num_ranking_workers=1, ranking_subset_size=len(items) - 1
        ),
    )


class _Validation:
    """What NNCF calls with all items for the task metric, and with fewer to rank operators by what they harm.

    Given outputs to rank by, NNCF 3.4 takes the operator whose way back to float leaves the largest error for the most
    harmful one (ranker.py) and reverts the harmless first. So it is given numbers of which larger is better.
    """

    def __init__(self, validate: Validate, items: Sequence[np.ndarray], reference: Predict) -> None:
        self.validate, self.count = validate, len(items)
        self.expected = {id(item): reference(item) for item in items}

    def __call__(self, model: Any, items: Iterable[np.ndarray]) -> tuple[float, list[float]]:
        predict = _predict(model)
        each = [sqnr_db(self.expected[id(item)], predict(item)) for item in items]
        return (self.validate(predict) if len(each) == self.count else sum(each) / len(each)), each


def _compiled(source: Any) -> Any:
    return one_core().compile_model(source, DEVICE, guards.EXACT)


def _predict(model: Any) -> Predict:
    """`predict(NCHW float32) -> the first output` of a compiled model, image by image."""
    return lambda images: np.concatenate([model(images[i : i + 1])[0].copy() for i in range(len(images))])
