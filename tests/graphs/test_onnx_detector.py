"""Preparation and suppression inside the graph: equal to what the host does, whatever the size of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")

from deploytk.artifact import TensorSpec  # noqa: E402
from deploytk.data import preparation  # noqa: E402
from deploytk.data.detections import MOST_BOXES, Detections, detections  # noqa: E402
from deploytk.errors import InputError  # noqa: E402
from deploytk.graphs.onnx_detector import with_nms, with_preprocessing  # noqa: E402

SIDE, CLASSES = 32, 2
ANCHORS = 3 * SIDE * SIDE // (4 + CLASSES)


def reshaping(opset: int = 17, ends_as: tuple[int, ...] = (4 + CLASSES, ANCHORS)) -> Any:
    """A detector whose decoded output holds the numbers of its input, so that tests can say what it gives."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Reshape", ["images", "shape"], ["output0"], name="/model.0/Reshape")],
        "reshaping",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [value("output0", onnx.TensorProto.FLOAT, ["batch", *ends_as])],
        [onnx.numpy_helper.from_array(np.array([-1, *ends_as], np.int64), "shape")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


def ran(model: Any, images: np.ndarray, also: str = "") -> list[np.ndarray]:
    """The output of the model, and the inner tensor called `also`."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if also:
        made.graph.output.append(onnx.helper.make_tensor_value_info(also, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"images": images})]


def photo(height: int, width: int) -> np.ndarray:
    """Something smooth with noise on it, (height, width, 3) uint8."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / 7), np.cos(columns / 5), np.sin((rows + columns) / 11)], axis=2)
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def boxes(seed: int, anchors: int = ANCHORS) -> np.ndarray:
    """Decoded boxes that overlap one another a lot, (1, 6, anchors)."""
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, 60, (2, anchors)), rng.uniform(8, 40, (2, anchors))
    return np.concatenate([centres, sides, rng.random((CLASSES, anchors)) ** 2])[None].astype(np.float32)


def by_the_host(decoded: np.ndarray, score: float = 0.25, overlap: float = 0.7) -> list[Detections]:
    spec = TensorSpec(name="output0", shape=decoded.shape, dtype="float32")
    return detections([decoded], [spec], "decoded", (SIDE, SIDE), score=score, overlap=overlap)


# --- preparation -----------------------------------------------------------------------------------------------


def test_normalisation_inside_gives_bit_for_bit_what_the_host_gives() -> None:
    made = with_preprocessing(reshaping(), "normalise")
    pixels = np.stack([photo(SIDE, SIDE), photo(SIDE, SIDE)[::-1]])
    by_host = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    assert np.array_equal(ran(made, pixels)[0], by_host.reshape(2, 4 + CLASSES, ANCHORS))


@pytest.mark.parametrize("size", [(480, 640), (427, 640), (640, 427), (200, 150), (SIDE, SIDE), (21, 17), (9, 300)])
def test_letterbox_inside_is_the_hosts_within_one_grey_level(size: tuple[int, int]) -> None:
    image = photo(*size)
    made = with_preprocessing(reshaping(), "letterbox")
    inside = ran(made, image[None], "/deploy/letterbox/inside")[1] * 255
    by_host, _ = preparation.letterbox(image, (SIDE, SIDE))
    apart = np.abs(inside[0].transpose(1, 2, 0) - by_host)
    assert apart.max() < 1.001 and apart.mean() < 0.3


def test_a_letterbox_of_half_the_size_is_the_hosts_to_the_bit() -> None:
    image = photo(48, 2 * SIDE)
    inside = ran(with_preprocessing(reshaping(), "letterbox"), image[None], "/deploy/letterbox/inside")[1]
    by_host = preparation.letterbox(image, (SIDE, SIDE))[0].transpose(2, 0, 1)
    assert np.array_equal(inside[0], by_host.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("size", [(600, 800), (900, 1600), (159, 212), (87, 116)])
def test_an_image_has_the_hosts_rows_where_python_rounds_up_a_whole_number(size: tuple[int, int]) -> None:
    made = with_preprocessing(reshaping(), "letterbox")
    image = np.full((*size, 3), 255, np.uint8)
    inside = ran(made, image[None], "/deploy/letterbox/inside")[1][0, 0] * 255
    assert np.array_equal(np.round(inside), preparation.letterbox(image, (SIDE, SIDE))[0][:, :, 0])


def test_boxes_of_a_letterboxed_image_come_out_on_the_image() -> None:
    image = photo(90, 160)
    made = with_preprocessing(reshaping(), "letterbox")
    output, inside = ran(made, image[None], "/deploy/letterbox/inside")
    decoded, placed = inside.reshape(1, 4 + CLASSES, ANCHORS), preparation.letterbox(image, (SIDE, SIDE))[1]
    factor = np.array([160 / placed.width, 90 / placed.height], np.float32)[:, None]
    corner = np.array([placed.left, placed.top], np.float32)[:, None]
    assert output[0, :2] == pytest.approx((decoded[0, :2] - corner) * factor, abs=1e-4)
    assert output[0, 2:4] == pytest.approx(decoded[0, 2:4] * factor, abs=1e-4)
    assert np.array_equal(output[0, 4:], decoded[0, 4:])


# --- suppression -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "overlap"), [(0.25, 0.7), (0.5, 0.45), (0.01, 0.9)])
def test_suppression_inside_gives_the_boxes_of_the_host_in_their_order(score: float, overlap: float) -> None:
    decoded = np.concatenate([boxes(1), np.zeros_like(boxes(1)), boxes(2)])
    made = with_nms(reshaping(), confidence=score, iou=overlap, most=MOST_BOXES)
    rows = ran(made, decoded.reshape(3, 3, SIDE, SIDE))[0]
    for got, wanted in zip(rows, by_the_host(decoded, score, overlap), strict=True):
        count = len(wanted.scores)
        assert np.array_equal(got[:count, 4], wanted.scores)
        assert np.array_equal(got[:count, 5], wanted.labels)
        assert got[:count, :4] == pytest.approx(wanted.boxes, abs=1e-4)
        assert not got[count:].any() and not np.signbit(got[count:]).any()
    assert not rows[1].any()


def test_only_the_most_certain_boxes_stay_where_there_are_more() -> None:
    decoded = boxes(3)
    wanted = by_the_host(decoded, 0.25, 0.9)[0]
    rows = ran(with_nms(reshaping(), confidence=0.25, iou=0.9, most=10), decoded.reshape(1, 3, SIDE, SIDE))[0]
    assert rows.shape == (1, 10, 6) and len(wanted.scores) > 10
    assert np.array_equal(rows[0, :, 4], wanted.scores[:10])


def test_boxes_end_at_the_edges_of_the_image_where_the_letterbox_is_inside_too() -> None:
    made = with_nms(with_preprocessing(reshaping(), "letterbox"), confidence=0.01, iou=0.99, most=ANCHORS)
    rows = ran(made, photo(SIDE // 2, SIDE)[None])[0][0]
    assert rows[:, 4].any() and rows[:, :4].min() >= 0
    assert rows[:, [0, 2]].max() <= SIDE and rows[:, [1, 3]].max() <= SIDE // 2


# --- the file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", range(13, 21))
def test_every_opset_that_can_be_exported_takes_all_of_it(opset: int) -> None:
    made = with_nms(with_preprocessing(reshaping(opset), "letterbox"), confidence=0.25, iou=0.7, most=300)
    assert ran(made, photo(50, 40)[None])[0].shape == (1, 300, 6)


def test_the_model_says_what_it_takes_and_gives_and_keeps_its_names() -> None:
    source = reshaping()
    made = with_nms(with_preprocessing(source, "letterbox"), confidence=0.25, iou=0.7, most=300)
    told = {entry.key: entry.value for entry in made.metadata_props}
    assert "RGB" in told["deploytk.input"] and made.graph.input[0].doc_string == told["deploytk.input"]
    assert "x1, y1, x2, y2, score, class" in told["deploytk.output"]
    assert (made.graph.input[0].name, made.graph.output[0].name) == ("images", "output0")
    names = [node.name for node in made.graph.node]
    assert "/model.0/Reshape" in names and len(set(names)) == len(names)
    assert source == reshaping()  # the model given is not touched


@pytest.mark.parametrize("broken", [reshaping(ends_as=(3 * SIDE * SIDE,)), reshaping(ends_as=(ANCHORS, 4 + CLASSES))])
def test_what_is_no_decoded_detector_is_refused(broken: Any) -> None:
    with pytest.raises(InputError, match="4 \\+ classes, anchors"):
        with_nms(broken, confidence=0.25, iou=0.7, most=300)


def test_a_preparation_is_put_inside_once() -> None:
    with pytest.raises(InputError, match="is put before"):
        with_preprocessing(with_preprocessing(reshaping(), "normalise"), "normalise")
