"""Find the objects in image files: python run.py IMAGE...

It needs numpy, opencv-python and the one runtime that deploy.json names (onnxruntime, openvino or ai-edge-litert), and
nothing else. One line of JSON for each image: its boxes as [x1, y1, x2, y2, score, label], in pixels of the image.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
SCORE, OVERLAP, MOST = 0.25, 0.7, 300

#: An input (1, ...) as the model takes it -> its outputs, as real numbers.
Run = Callable[[np.ndarray], list[np.ndarray]]


def open_model(told: dict[str, Any]) -> Run:
    """The model of deploy.json in its runtime."""
    path = str(HERE / told["model"])
    return {"onnx": _onnx, "openvino": _openvino, "litert": _litert}[told["runtime"]](path, told)


def _onnx(path: str, told: dict[str, Any]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = told["threads"] or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: list(session.run(None, {name: image}))


def _openvino(path: str, told: dict[str, Any]) -> Run:
    import openvino

    config: dict[str, Any] = {"PERFORMANCE_HINT": told["options"].get("hint", "latency").upper()}
    if told["threads"]:
        config["INFERENCE_NUM_THREADS"] = told["threads"]
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *told["input"][1:]])
    request = core.compile_model(model, "CPU", config).create_infer_request()

    def run(image: np.ndarray) -> list[np.ndarray]:
        request.infer([image])
        return [np.array(request.get_output_tensor(i).data) for i in range(len(model.outputs))]

    return run


def _litert(path: str, told: dict[str, Any]) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=told["threads"])
    interpreter.allocate_tensors()
    place, specs = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()

    def run(image: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(place, image)
        interpreter.invoke()
        return [_real(interpreter.get_tensor(s["index"]), *s["quantization"]) for s in specs]

    return run


def _real(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values.astype(np.float32)


def prepared(pixels: np.ndarray, how: dict[str, Any]) -> tuple[np.ndarray, float, float, int, int]:
    """The image (BGR) as an input, how wide and high one of its pixels is there, and where it stands."""
    rows, columns = how["size"]
    height, width = pixels.shape[:2]
    scale = min(rows / height, columns / width)
    new = min(math.ceil(height * scale), rows), min(math.ceil(width * scale), columns)
    if new != (height, width):
        pixels = cv2.resize(pixels, new[::-1], interpolation=cv2.INTER_LINEAR)
    top, left = (rows - new[0]) // 2, (columns - new[1]) // 2
    square = np.full((rows, columns, 3), 114, np.uint8)
    square[top : top + new[0], left : left + new[1]] = pixels
    real = square[:, :, ::-1].astype(np.float32) / np.float32(how["divide_by"])
    fed = real.transpose(2, 0, 1)[None] if how["layout"] == "nchw" else real[None]
    return np.ascontiguousarray(_quantized(fed, how)), new[1] / width, new[0] / height, left, top


def _quantized(real: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """Real numbers in the type of the input."""
    told = how.get("quantization")
    if not told:
        return real.astype(how["dtype"])
    limits = np.iinfo(how["dtype"])
    integers = np.round(real / np.float32(told["scale"])) + told["zero_point"]
    clipped: np.ndarray = np.clip(integers, limits.min, limits.max).astype(how["dtype"])
    return clipped


def candidates(outputs: Sequence[np.ndarray], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(boxes x1 y1 x2 y2 in pixels of the input, scores, classes) above the threshold, not suppressed yet."""
    if len(outputs) == 1:
        return _from_decoded(outputs[0][0])
    levels = [_from_maps(outputs[i][0], outputs[i + 1][0], size) for i in range(0, len(outputs), 2)]
    boxes, scores, classes = zip(*levels, strict=True)
    return np.concatenate(boxes), np.concatenate(scores), np.concatenate(classes)


def _from_decoded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of (4 + classes, anchors): centre x, centre y, width, height in pixels, and a score for each class."""
    rows = rows[:, rows[4:].max(0) > SCORE]
    half, classes = rows[2:4] / 2, rows[4:].argmax(0)
    return np.concatenate([rows[:2] - half, rows[:2] + half]).T, rows[4:].max(0), classes


def _from_maps(
    distances: np.ndarray, logits: np.ndarray, size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one level, channels last: for each cell 4 distributions over distances to the sides, and the classes."""
    rows, columns = logits.shape[:2]
    logits = logits.reshape(rows * columns, -1)
    kept = np.flatnonzero(logits.max(1) > math.log(SCORE / (1 - SCORE)))
    bins = distances.reshape(rows * columns, 4, -1)[kept]
    weights = np.exp(bins - bins.max(2, keepdims=True))
    sides = (weights / weights.sum(2, keepdims=True)) @ np.arange(bins.shape[2], dtype=np.float32)
    centres = np.stack([kept % columns, kept // columns], 1) + np.float32(0.5)
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], 1) * np.float32(size[0] / rows)
    return boxes, 1 / (1 + np.exp(-logits[kept].max(1))), logits[kept].argmax(1)


def suppressed(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Which boxes stay: of two of a class that overlap the more certain one."""
    if not len(scores):
        return np.empty(0, np.int64)
    # Classes are kept apart by moving them by the largest coordinate, which needs coordinates from 0 on.
    places = (boxes - boxes.min()).astype(np.float32)
    places[:, 2:] -= places[:, :2]
    dnn: Any = cv2.dnn
    kept = dnn.NMSBoxesBatched(places, scores.astype(np.float32), classes.astype(np.int32), 0.0, OVERLAP)
    return np.asarray(kept, np.int64).reshape(-1)[:MOST]


def detect(run: Run, image: Path, told: dict[str, Any], labels: Sequence[str]) -> list[list[Any]]:
    """The boxes of an image file, the most certain first."""
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        sys.exit(f"{image}: OpenCV cannot read this image")
    fed, wide, high, left, top = prepared(pixels, told["preparation"])
    boxes, scores, classes = candidates(run(fed), told["preparation"]["size"])
    kept = suppressed(boxes, scores, classes)
    height, width = pixels.shape[:2]
    corners = (boxes[kept] - np.array([left, top] * 2)) / np.array([wide, high] * 2)
    corners = np.clip(corners, 0, np.array([width, height] * 2))
    found = zip(corners.tolist(), scores[kept].tolist(), classes[kept].tolist(), strict=True)
    return [[*(round(side, 2) for side in box), round(score, 4), labels[label]] for box, score, label in found]


def main(images: Sequence[str]) -> None:
    """Print one line for each image."""
    if not images:
        sys.exit(__doc__)
    told = json.loads((HERE / "deploy.json").read_text(encoding="utf-8"))
    labels = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
    run = open_model(told)
    for image in images:
        print(json.dumps({"image": image, "boxes": detect(run, Path(image), told, labels)}))


if __name__ == "__main__":
    main(sys.argv[1:])
