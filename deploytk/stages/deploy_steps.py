"""What runs in child processes for the graph that is deployed: made, and compared with the host's way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from deploytk import plugins
from deploytk.data import dataset, samples
from deploytk.data.detections import MOST_BOXES, OVERLAP, SCORE
from deploytk.files import written_whole
from deploytk.graphs import onnx_detector
from deploytk.stages.bench_end_to_end import EndToEnd, open_end_to_end

#: Rounding moves a score by less than this: a box that is nearer to the threshold may be on either side of it.
_SCORE = 0.02
#: The overlap (IoU) from which on two boxes are the same; half a pixel is less on boxes of 20 pixels and more.
_SAME = 0.9


def deploy_graph(
    model: str, out: str, preprocess: Literal["out", "normalise", "letterbox"], nms: Literal["out", "in"]
) -> None:
    """Write the ONNX with the preparation and the suppression inside that are asked for."""
    made = onnx.load(model)
    if preprocess != "out":
        made = onnx_detector.with_preprocessing(made, preprocess)
    if nms == "in":
        made = onnx_detector.with_nms(made, confidence=SCORE, iou=OVERLAP, most=MOST_BOXES)
    with written_whole(Path(out)) as temporary:
        onnx.save(made, temporary)


def deploy_proof(data: str, model: str, deployed: str, runtime: str, images: int) -> dict[str, Any]:
    """The boxes of `deployed` beside those of `model`, which the host prepares for and suppresses after.

    Both are run on the same validation images, from the bytes of their files to boxes on them.

    Returns:
        images, boxes (of the host's way, all), boxes_deployed; lost and added: how many, of those with scores above
        0.27, have no partner of the same class with an IoU of 0.9 in the boxes of the other way.
    """
    paths = [str(sample.image) for sample in samples.choose(dataset.read(Path(data)), "val", images, 0)]
    ways = [_opened(Path(path), runtime, paths) for path in (model, deployed)]
    told = dict.fromkeys(("boxes", "boxes_deployed", "lost", "added"), 0)
    for turn in range(len(paths)):
        host, graph = (_boxes(way.run(turn)) for way in ways)
        told["boxes"] += len(host)
        told["boxes_deployed"] += len(graph)
        told["lost"] += _alone(host, graph)
        told["added"] += _alone(graph, host)
    return {"images": len(paths), **told}


def _opened(model: Path, runtime: str, images: list[str]) -> EndToEnd:
    session = plugins.load("runtimes", runtime).open_session(model, batch=1, threads=None)
    return open_end_to_end({"batch": 1, "images": images}, session)


def _boxes(results: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n, 6) of the one image: x1, y1, x2, y2, score, class."""
    count = int(results["count"][0])
    parts = (results["boxes"][0], results["scores"][0, :, None], results["labels"][0, :, None])
    return np.concatenate(parts, axis=1)[:count]


def _alone(boxes: np.ndarray, others: np.ndarray) -> int:
    """How many of the certain boxes have no partner in the others."""
    sure = boxes[boxes[:, 4] > SCORE + _SCORE]
    same = (_iou(sure[:, :4], others[:, :4]) >= _SAME) & (sure[:, None, 5] == others[None, :, 5])
    return int((~same.any(axis=1)).sum())


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(len(a), len(b)) overlaps of boxes given by their corners."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    overlaps: np.ndarray = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    return overlaps
