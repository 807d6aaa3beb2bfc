"""A model in memory, run on real images one at a time, with any of its tensors as outputs (onnxruntime)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnxruntime as ort

from deploytk.errors import InputError
from deploytk.targets.onnx import protos

#: Each call starts a new pass over the calibration images: one (1, C, H, W) float32 array at a time.
Feeds = Callable[[], Iterator[np.ndarray]]
Values = dict[str, np.ndarray]


def values(
    model: Any, tensors: Sequence[str], feeds: Feeds, images: int | None = None, *, exact: bool = False
) -> Iterator[Values]:
    """The tensors by name for each image in turn; of the first `images` only, where that is given.

    Only one image's tensors are in memory at a time. `exact` computes a QDQ model as it is written, with rounded
    values in float; otherwise ONNX Runtime's integer kernels do, wherever no wanted tensor stands between two nodes.

    Raises:
        InputError: an image of another shape or type, with NaN or infinity; none at all.
    """
    given = model.graph.input[0].name
    wanted = [name for name in tensors if name != given]
    session = _session(protos.with_outputs(model, wanted or [model.graph.output[0].name]), exact)
    for image in checked(feeds, session.get_inputs()[0].shape, images):
        found = dict(zip(wanted, session.run(wanted, {given: image}), strict=True)) if wanted else {}
        # ONNX Runtime hands out an input that is an output as the same memory.
        yield {**found, given: image} if given in tensors else found


def checked(feeds: Feeds, shape: Sequence[Any], images: int | None = None) -> Iterator[np.ndarray]:
    """One pass over the feeds, each image looked at; `shape` has names where it is free."""
    count = 0
    for image in islice(feeds(), images):
        if not _fits(image, shape):
            told = ["any" if not isinstance(axis, int) else axis for axis in shape]
            raise InputError(
                f"calibration image {count} must be finite float32 {told}, not {image.dtype.name} {list(image.shape)}"
            )
        count += 1
        yield image
    if not count:
        raise InputError("quantization needs real images and was given none; check the calibration set")


def _fits(image: np.ndarray, shape: Sequence[Any]) -> bool:
    same = len(image.shape) == len(shape) and all(
        not isinstance(axis, int) or axis == own for axis, own in zip(shape, image.shape, strict=True)
    )
    return same and image.dtype == np.float32 and bool(np.isfinite(image).all())


def _session(model: Any, exact: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if exact:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"])
