"""Boxes and classes read from a model's outputs: by hand, and as Ultralytics and torchvision read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploytk.artifact import TensorSpec
from deploytk.data.detections import MOST_BOXES, After, Detections, detections, head_of, top_k
from deploytk.data.preparation import Placed, Preparation, decode
from deploytk.errors import InputError

pytest.importorskip("cv2", reason="OpenCV is not installed")

SIZE = (160, 160)
ANCHORS = 525  # 20 * 20 + 10 * 10 + 5 * 5
TRAINED = Path(__file__).resolve().parents[2] / "runs/demo/run"


def spec(
    *shape: int, name: str = "out", dtype: str = "float32", scale: float | None = None, zero: int = 0
) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype, scale=scale, zero_point=zero if scale else None)


def decoded(*boxes: tuple[float, ...], classes: int = 2, anchors: int = ANCHORS) -> np.ndarray:
    """(1, 4 + classes, anchors) with these (x, y, w, h, label, score) and nothing elsewhere."""
    out = np.zeros((1, 4 + classes, anchors), np.float32)
    for at, (x, y, w, h, label, score) in enumerate(boxes):
        out[0, :4, at] = x, y, w, h
        out[0, 4 + int(label), at] = score
    return out


def read(out: np.ndarray, **options: float) -> Detections:
    (found,) = detections([out], [spec(*out.shape)], "decoded", SIZE, **options)
    return found


def crowd(seed: int, *, images: int = 2, classes: int = 3, anchors: int = ANCHORS, objects: int = 12) -> np.ndarray:
    """Outputs as a trained model gives them: clusters of overlapping boxes, and low scores everywhere else."""
    rng = np.random.default_rng(seed)
    out = np.empty((images, 4 + classes, anchors), np.float32)
    for image in out:
        centres, sizes = rng.uniform(-5, 165, (objects, 2)), rng.uniform(8, 60, (objects, 2))
        of = rng.integers(0, objects, anchors)
        image[:2] = (centres[of] + rng.normal(0, 2, (anchors, 2))).T
        image[2:4] = (sizes[of] * rng.uniform(0.8, 1.25, (anchors, 2))).T
        image[4:] = rng.beta(0.5, 4, (classes, anchors))
    return out


# --- decoded outputs -------------------------------------------------------------------------------------------


def test_a_box_is_its_corners_its_best_class_and_that_score() -> None:
    found = read(decoded((50, 40, 20, 10, 1, 0.9)))
    assert found.boxes.tolist() == [[40, 35, 60, 45]]
    assert found.labels.tolist() == [1] and found.scores == pytest.approx([0.9]) and found.candidates == 1


def test_of_two_boxes_over_each_other_the_more_certain_one_stays() -> None:
    found = read(decoded((50, 40, 20, 10, 1, 0.6), (51, 40, 20, 10, 1, 0.8)))
    assert found.boxes.tolist() == [[41, 35, 61, 45]] and found.candidates == 2


def test_boxes_of_different_classes_do_not_suppress_each_other_wherever_they_are() -> None:
    assert read(decoded((50, 40, 20, 10, 0, 0.6), (50, 40, 20, 10, 1, 0.8))).labels.tolist() == [1, 0]
    # Moved by the largest coordinate (60) and 1, as OpenCV keeps classes apart, the second would lie on the first.
    assert read(decoded((50, 50, 20, 20, 0, 0.6), (-11, -11, 20, 20, 1, 0.8))).labels.tolist() == [1, 0]


def test_the_overlap_that_is_allowed_can_be_chosen() -> None:
    pair = decoded((50, 40, 20, 10, 0, 0.6), (60, 40, 20, 10, 0, 0.8))  # IoU 1/3
    assert len(read(pair, overlap=0.4).scores) == 2
    assert len(read(pair, overlap=0.3).scores) == 1


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    out = decoded((50, 40, 20, 10, 0, 0.25), (90, 40, 20, 10, 0, 0.26))
    assert read(out).scores == pytest.approx([0.26])
    assert len(read(out, score=0.3).scores) == 0


def test_an_empty_image_gives_no_boxes_and_not_those_of_its_neighbour() -> None:
    out = np.concatenate([decoded((50, 40, 20, 10, 0, 0.5)), decoded()])
    found = detections([out], [spec(*out.shape)], "decoded", SIZE)
    assert [len(one.scores) for one in found] == [1, 0]
    assert found[1].boxes.shape == (0, 4)


def test_no_more_than_300_boxes_are_kept_the_most_certain_ones_and_all_candidates_counted() -> None:
    grid = [(20 * (i % 25), 20 * (i // 25), 10, 10, 0, 0.3 + i / 1000) for i in range(400)]
    found = read(decoded(*grid))
    assert len(found.scores) == MOST_BOXES and found.candidates == 400
    assert found.scores.min() == pytest.approx(0.4)


@pytest.mark.e2e
@pytest.mark.parametrize("overlap", [0.45, 0.7])
def test_synthetic_crowds_come_out_as_in_ultralytics(overlap: float) -> None:
    for seed in range(20):
        assert _as_ultralytics(crowd(seed), overlap) > 10


@pytest.mark.e2e
def test_a_trained_models_outputs_come_out_as_in_ultralytics(data_dir: Path) -> None:
    from deploytk.runtimes import onnx

    session, size = _trained(onnx)
    how = Preparation.for_input(session.inputs[0], "detector")
    photos = [*sorted((TRAINED.parent / "data/images/val").glob("*.jpg"))[:12], *data_dir.glob("bccd_voc/JPEGImages/*")]
    boxes = 0
    for photo in photos[:20]:
        (output,) = session.run({session.inputs[0].name: how.prepare(photo.read_bytes())}).values()
        boxes += _as_ultralytics(output, 0.7, size)
    assert boxes > 10


@pytest.mark.e2e
def test_a_trained_model_finds_the_labelled_objects_where_they_are_in_the_image() -> None:
    import cv2

    from deploytk.data import dataset
    from deploytk.runtimes import onnx

    session, size = _trained(onnx)
    how = Preparation.for_input(session.inputs[0], "detector")
    hit = objects = 0
    for sample in dataset.read(TRAINED.parent / "data/data.yaml").splits["val"][:20]:
        pixels = cv2.resize(decode(sample.image.read_bytes()), (480, 480))  # larger than the input: boxes must grow
        made, placed = how.fit(pixels)
        (output,) = session.run({session.inputs[0].name: made}).values()
        (found,) = detections([output], session.outputs, "decoded", size)
        boxes = found.on_image(placed, 480, 480).boxes
        for box in sample.boxes:
            truth = np.array([box.x - box.w / 2, box.y - box.h / 2, box.x + box.w / 2, box.y + box.h / 2]) * 480
            hit += any(_overlap(truth, one) > 0.6 for one in boxes)
            objects += 1
    # A small model, trained for minutes: its recall is 0.72. With boxes in the wrong place it would be near 0.
    assert objects > 20 and hit / objects > 0.6


# --- other heads -----------------------------------------------------------------------------------------------


def test_an_end_to_end_head_is_only_cut_at_the_threshold() -> None:
    out = np.zeros((1, 300, 6), np.float32)
    out[0, 3] = 10, 20, 30, 40, 0.5, 2
    out[0, 9] = 11, 20, 30, 40, 0.9, 2  # over the other one, and both stay
    (found,) = detections([out], [spec(1, 300, 6)], "end-to-end", SIZE)
    assert found.boxes.tolist() == [[11, 20, 30, 40], [10, 20, 30, 40]]
    assert found.labels.tolist() == [2, 2] and found.candidates == 2


def _maps(last: bool, classes: int = 3, bins: int = 16, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = []
    for cells in (20, 10, 5):
        for channels, bias in ((4 * bins, 0.0), (classes, -2.0)):
            made = rng.normal(bias, 1.5, (2, channels, cells, cells)).astype(np.float32)
            maps.append(np.ascontiguousarray(made.transpose(0, 2, 3, 1)) if last else made)
    return maps


@pytest.mark.e2e
@pytest.mark.parametrize("last", [False, True])
def test_raw_maps_come_out_as_the_decoded_output_of_the_same_head(last: bool) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("ultralytics")
    from deploytk.backends.ultralytics.network import Decode

    decoder = Decode([(20, 20), (10, 10), (5, 5)], (8, 16, 32), 16, 3)
    with torch.inference_mode():
        whole = decoder([torch.from_numpy(m) for m in _maps(False)]).numpy()
    maps = _maps(last)
    specs = [spec(*m.shape, name=str(i)) for i, m in enumerate(maps)]
    assert head_of(specs, SIZE) == "maps"
    expected = detections([whole], [spec(*whole.shape)], "decoded", SIZE)
    for one, other in zip(detections(maps, specs, "maps", SIZE), expected, strict=True):
        assert one.candidates == other.candidates > 50
        assert one.boxes == pytest.approx(other.boxes, abs=1e-3)
        assert np.array_equal(one.labels, other.labels)


def test_quantized_maps_are_made_real_with_their_own_scales() -> None:
    maps = _maps(True)
    scales = [0.05 + 0.01 * i for i in range(6)]
    integers = [np.clip(np.round(m / s) + 7, -128, 127).astype(np.int8) for m, s in zip(maps, scales, strict=True)]
    specs = [spec(*m.shape, dtype="int8", scale=s, zero=7) for m, s in zip(maps, scales, strict=True)]
    back = [((m.astype(np.float32) - 7) * np.float32(s)) for m, s in zip(integers, scales, strict=True)]
    from_integers = detections(integers, specs, "maps", SIZE)
    from_reals = detections(back, [spec(*m.shape) for m in back], "maps", SIZE)
    for one, other in zip(from_integers, from_reals, strict=True):
        assert len(one.scores) > 10
        assert np.array_equal(one.boxes, other.boxes) and np.array_equal(one.scores, other.scores)


def test_a_head_without_bins_gives_the_distances_themselves() -> None:
    boxes, classes = np.zeros((1, 5, 5, 4), np.float32), np.full((1, 5, 5, 2), -9, np.float32)
    boxes[0, 2, 1], classes[0, 2, 1, 1] = (1, 0.5, 2, 0.25), 3.0
    pair = [boxes, classes]
    (found,) = detections(pair, [spec(*m.shape) for m in pair], "maps", SIZE)
    # The cell's centre is (1.5, 2.5), a cell 32 pixels.
    assert found.boxes.tolist() == [[16, 64, 112, 88]]
    assert found.labels.tolist() == [1] and found.scores == pytest.approx([1 / (1 + np.exp(-3))])


# --- back onto the image ---------------------------------------------------------------------------------------


def test_boxes_go_back_onto_the_image_the_way_it_came() -> None:
    for kind in ("letterbox", "resize", "center-crop"):
        how = Preparation(kind=kind, size=(160, 160))  # type: ignore[arg-type]
        pixels = np.zeros((300, 400, 3), np.uint8)
        pixels[120:180, 150:250] = 255
        made, placed = how.fit(pixels)
        rows, columns = (np.flatnonzero((made[0, 0] > 0.9).any(axis)) for axis in (1, 0))
        box = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32)
        found = Detections(boxes=box, scores=np.ones(1), labels=np.zeros(1, np.int64), candidates=1)
        back = found.on_image(placed, 300, 400).boxes[0]
        assert back == pytest.approx([150, 120, 250, 180], abs=3.0), kind  # a pixel of the input is 2.5 of the image


def test_a_box_that_reaches_over_the_edge_ends_there() -> None:
    found = Detections(
        boxes=np.array([[-9, 10, 200, 500]], np.float32), scores=np.ones(1), labels=np.zeros(1, int), candidates=1
    )
    placed = Placed(width=160, height=80, left=0, top=40)
    assert found.on_image(placed, 100, 200).boxes.tolist() == [[0, 0, 200, 100]]


# --- classes ---------------------------------------------------------------------------------------------------


def test_logits_become_probabilities_in_order() -> None:
    labels, scores = top_k(np.array([[0.0, 2.0, 1.0], [9.0, 0.0, 0.0]], np.float32), spec(2, 3), 2)
    assert labels.tolist() == [[1, 2], [0, 1]]
    powers = np.exp([0, 2, 1])
    assert scores[0] == pytest.approx(powers[[1, 2]] / powers.sum())


def test_probabilities_are_not_softmaxed_again() -> None:
    given = np.array([[0.1, 0.7, 0.2]], np.float32)
    assert top_k(given, spec(1, 3))[1][0] == pytest.approx([0.7, 0.2, 0.1])


def test_quantized_probabilities_are_known_by_their_scale_for_their_sum_need_not_be_1() -> None:
    given = np.full((1, 1001), 0, np.uint8)
    given[0, :500] = 1  # each rounded up: the sum is 2.6
    given[0, 7] = 179
    _, scores = top_k(given, spec(1, 1001, dtype="uint8", scale=1 / 256))
    assert scores[0, 0] == pytest.approx(179 / 256)
    signed = (given.astype(int) - 128).astype(np.int8)
    assert np.array_equal(top_k(signed, spec(1, 1001, dtype="int8", scale=1 / 256, zero=-128))[1], scores)
    logits = top_k(given, spec(1, 1001, dtype="uint8", scale=0.1))[1]
    assert logits[0, 0] == pytest.approx(1, abs=1e-3)


def test_large_logits_do_not_overflow() -> None:
    _, scores = top_k(np.array([[1e4, 0.0]], np.float32), spec(1, 2))
    assert scores[0].tolist() == [1.0, 0.0]


def test_a_fully_convolutional_classifier_is_one_too() -> None:
    out = np.array([1.0, 5.0, 2.0], np.float32).reshape(1, 3, 1, 1)
    assert head_of([spec(*out.shape)], SIZE) == "classes"
    assert top_k(out, spec(*out.shape))[0].tolist() == [[1, 2, 0]]


# --- which is which --------------------------------------------------------------------------------------------


def test_outputs_are_recognised_by_their_shapes() -> None:
    assert head_of([spec(1, 84, 8400)], (640, 640)) == "decoded"
    assert head_of([spec(4, 6, ANCHORS)], SIZE) == "decoded"  # two classes
    assert head_of([spec(1, 5, 40 * 20 + 20 * 10 + 10 * 5)], (320, 160)) == "decoded"
    assert head_of([spec(1, 1207, ANCHORS)], SIZE) == "decoded"  # more classes than anchors
    assert head_of([spec(1, 300, 6)], SIZE) == "end-to-end"
    assert head_of([spec(1, 1000)], SIZE) == "classes"
    assert head_of([spec(1, 7, 7)], SIZE, "none") is None
    assert head_of([spec(1, 84, 999)], SIZE, "nms") == "decoded"  # said, so the anchors need not be known


@pytest.mark.parametrize(
    ("shapes", "after", "said"),
    [
        ([(1, 197, 768)], "auto", r"cannot be told \(out \[1, 197, 768\]\): say --after nms, top-k or none"),
        ([(1, 84, 999)], "auto", "cannot be told"),
        ([(1, 3, 64, 64)], "auto", "cannot be told"),
        ([(1, 1)], "auto", "cannot be told"),
        ([(1, 10), (1, 10)], "auto", "cannot be told"),
        ([(1, 64, 20, 20), (1, 4, 20, 20), (1, 64, 10, 10)], "auto", "cannot be told"),
        ([(1, 25200, 85)], "nms", r"--after nms reads .*the outputs are out \[1, 25200, 85\]"),
        ([(1, 10)], "nms", "--after nms reads"),
        ([(1, 84, ANCHORS)], "top-k", r"--after top-k reads \(N, classes\)"),
    ],
)
def test_other_outputs_ask_for_a_word(shapes: list[tuple[int, ...]], after: After, said: str) -> None:
    with pytest.raises(InputError, match=said):
        head_of([spec(*shape) for shape in shapes], SIZE, after)


# --- helpers of the comparisons --------------------------------------------------------------------------------


def _trained(runtime: object) -> tuple[object, tuple[int, int]]:
    """The detector of `make demo`."""
    model = TRAINED / "export/onnx/model.onnx"
    if not model.is_file():
        pytest.skip("no trained detector: make demo makes one")
    session = runtime.open_session(model, batch=1, threads=2)  # type: ignore[attr-defined]
    return session, tuple(session.inputs[0].shape[2:])


def _as_ultralytics(output: np.ndarray, overlap: float, size: tuple[int, int] = SIZE) -> int:
    """How many boxes both find, after the assertion that they are the same ones."""
    torch = pytest.importorskip("torch")
    nms = pytest.importorskip("ultralytics.utils.nms")
    theirs = nms.non_max_suppression(torch.from_numpy(output.copy()), conf_thres=0.25, iou_thres=overlap)
    ours = detections([output], [spec(*output.shape)], "decoded", size, overlap=overlap)
    for one, other in zip(ours, theirs, strict=True):
        rows = other.numpy()
        assert len(rows) == len(one.scores)
        assert one.boxes == pytest.approx(rows[:, :4], abs=1e-4)
        assert one.scores == pytest.approx(rows[:, 4], abs=1e-6)
        assert np.array_equal(one.labels, rows[:, 5])
    return sum(len(one.scores) for one in ours)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(np.prod(sides) / (sum(areas) - np.prod(sides)))


def test_the_most_probable_of_thousands_are_those_of_a_full_sort_ties_included() -> None:
    draw = np.random.default_rng(0)
    rows = np.round(draw.random((6, 4523), dtype=np.float32), 2)  # many are equal
    spec = TensorSpec(name="scores", shape=("n", 4523), dtype="float32")
    classes, shares = top_k(rows, spec, 7)
    assert np.array_equal(classes, np.argsort(-rows, axis=1, kind="stable")[:, :7])
    assert shares.shape == (6, 7) and (np.diff(shares) <= 0).all()
