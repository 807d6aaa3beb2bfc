"""What runs in child processes for the graph that is deployed: made, and compared with the host's way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from deploytk import plugins
from deploytk.data import agreement, dataset, samples
from deploytk.data.detections import MOST_BOXES, OVERLAP, SCORE, Detections
from deploytk.files import written_whole
from deploytk.graphs import onnx_detector
from deploytk.stages.bench_end_to_end import EndToEnd, open_end_to_end

#: Rounding moves a score by less than this: a box that is nearer to the threshold may be on either side of it.
_SCORE = 0.02


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


def deploy_ir(graph: str, model: str, out: str) -> dict[str, Any]:
    """Write the IR `model` with inside what `graph`, the ONNX that `deploy_graph` wrote, has; facts about it."""
    takes, gives = onnx_detector.seams(onnx.load(graph, load_external_data=False))
    facts: dict[str, Any] = plugins.load("targets", "openvino").graft(Path(graph), Path(model), Path(out), takes, gives)
    return facts


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
        told["boxes"] += len(host.scores)
        told["boxes_deployed"] += len(graph.scores)
        told["lost"] += _alone(host, graph)
        told["added"] += _alone(graph, host)
    return {"images": len(paths), **told}


def _opened(model: Path, runtime: str, images: list[str]) -> EndToEnd:
    # Where a CPU has bfloat16, its roundings would move boxes; what is compared is what the graphs compute.
    exact = {"precision": "f32"} if runtime == "openvino" else {}
    session = plugins.load("runtimes", runtime).open_session(model, batch=1, threads=None, options=exact)
    return open_end_to_end({"batch": 1, "images": images}, session)


def _boxes(results: Mapping[str, np.ndarray]) -> Detections:
    """The boxes of the one image."""
    count = int(results["count"][0])
    parts = {name: results[name][0, :count] for name in ("boxes", "scores", "labels")}
    return Detections(**parts, candidates=count)


def _alone(boxes: Detections, others: Detections) -> int:
    """How many of the certain boxes have no partner in the others."""
    sure = boxes.scores > SCORE + _SCORE
    certain = replace(boxes, boxes=boxes.boxes[sure], scores=boxes.scores[sure], labels=boxes.labels[sure])
    found = agreement.match([certain], [others])
    return found.boxes - found.iou90
