"""The boundary end to end: real images through a model and back, the split of each run, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.stages.bench_end_to_end import EndToEnd, open_end_to_end
from deploytk.stages.bench_photos import few, images_of

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

SIDE = 64
ANCHORS = 84  # 8 * 8 + 4 * 4 + 2 * 2


class Red:
    """A session that finds the red things of an image: one box around them, as a YOLO head would say it."""

    inputs = (TensorSpec(name="images", shape=(1, 3, SIDE, SIDE), dtype="float32"),)
    outputs = (TensorSpec(name="output0", shape=(1, 6, ANCHORS), dtype="float32"),)
    details: Mapping[str, Any] = {}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = np.zeros((len(feed["images"]), 6, ANCHORS), np.float32)
        for item, image in enumerate(feed["images"]):
            rows, columns = np.nonzero((image[0] > 0.7) & (image[1] < 0.3))
            if len(rows):
                left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
                out[item, :4, 3] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
                out[item, 5, 3] = 0.9
        return {"output0": out}


class Classes(Red):
    """A session whose class 0, 1 or 2 is the strongest channel."""

    outputs = (TensorSpec(name="logits", shape=(1, 3), dtype="float32"),)

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": feed["images"].mean((2, 3))}


class Says(Red):
    """A session that always says the same."""

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"output0": np.repeat(self.output, len(feed["images"]), 0)}


def drawn(path: Path, size: tuple[int, int], box: tuple[int, int, int, int] | None, colour: str = "red") -> Path:
    image = Image.new("RGB", size, "white")
    if box:
        ImageDraw.Draw(image).rectangle(box, colour)
    image.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of different sizes: a red thing, another one elsewhere, none."""
    drawn(tmp_path / "0.png", (200, 100), (50, 20, 99, 79))
    drawn(tmp_path / "1.png", (90, 180), (0, 120, 44, 179))
    drawn(tmp_path / "2.png", (64, 64), None)
    return tmp_path


def opened(session: Red, images: Path | list[str], **more: Any) -> EndToEnd:
    given = images if isinstance(images, list) else str(images)
    return open_end_to_end({"batch": 1, "images": given, **more}, session)  # type: ignore[arg-type]


# --- results ---------------------------------------------------------------------------------------------------


def test_an_object_is_found_where_it_is_in_the_image_file(folder: Path) -> None:
    whole = opened(Red(), folder)
    truth = [(50, 20, 100, 80), (0, 120, 45, 180)]
    for turn, box in enumerate(truth):
        results = whole.run(turn)
        assert results["count"].tolist() == [1] and results["labels"][0, 0] == 1
        assert results["boxes"][0, 0] == pytest.approx(box, abs=4)  # a pixel of the input is 3 of the image
        assert not results["boxes"][0, 1:].any() and not results["scores"][0, 1:].any()
    assert whole.run(2)["count"].tolist() == [0]


def test_each_turn_begins_with_another_image_and_goes_round(folder: Path) -> None:
    whole = opened(Red(), folder, batch=2)
    assert whole.count == 3
    counts = [whole.run(turn)["count"].tolist() for turn in range(4)]
    assert counts == [[1, 1], [1, 0], [0, 1], [1, 1]]
    assert len({whole.run(turn)["boxes"].tobytes() for turn in range(3)}) == 3


def test_a_batch_larger_than_the_images_repeats_them(folder: Path) -> None:
    whole = opened(Red(), folder, batch=7)
    assert whole.run(0)["count"].tolist() == [1, 1, 0, 1, 1, 0, 1]
    assert np.array_equal(whole.run(0)["boxes"][0], whole.run(0)["boxes"][3])


def test_a_classifier_gives_its_most_probable_classes(tmp_path: Path) -> None:
    for name in ("red", "lime", "blue"):
        drawn(tmp_path / f"{name}.png", (80, 80), (0, 0, 79, 79), name)
    whole = opened(Classes(), [str(tmp_path / f"{name}.png") for name in ("red", "lime", "blue")])
    assert whole.preparation.kind == "center-crop"
    for turn in range(3):
        results = whole.run(turn)
        assert results["labels"][0, 0] == turn and results["labels"].shape == (1, 3)
        assert results["scores"].sum() == pytest.approx(1)
    assert whole.details["after"] == "top-k" and "boxes_per_image" not in whole.details


def test_nothing_after_the_model_gives_copies_of_its_outputs(folder: Path) -> None:
    session = Says(np.ones((1, 6, ANCHORS), np.float32))
    whole = opened(session, folder, after="none", prepare="detector")
    results = whole.run(0)
    assert np.array_equal(results["output0"], session.output)
    assert not np.shares_memory(results["output0"], whole.last_outputs["output0"])
    assert whole.details["after"] == "none"


# --- the split -------------------------------------------------------------------------------------------------


def test_the_parts_are_inside_the_whole_and_leave_no_gap_between_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytk.stages import bench_end_to_end as stage

    seen: list[int] = []

    def clock() -> int:
        seen.append(perf_counter_ns())
        return seen[-1]

    monkeypatch.setattr(stage, "perf_counter_ns", clock)
    whole = opened(Red(), folder)
    assert whole.last_ms == {} and not seen  # opening is outside the clock
    began = perf_counter_ns()
    whole.run(0)
    total_ms = (perf_counter_ns() - began) / 1e6
    assert tuple(whole.last_ms) == whole.parts == ("decode", "prepare", "infer", "after", "copy")
    assert all(took >= 0 for took in whole.last_ms.values())
    assert sum(whole.last_ms.values()) == pytest.approx((seen[-1] - seen[0]) / 1e6)
    assert sum(whole.last_ms.values()) <= total_ms


@pytest.mark.parametrize("part", ["decode", "infer", "after"])
def test_time_is_counted_in_the_part_where_it_is_spent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    from deploytk.stages import bench_end_to_end as stage

    now = 0
    spent = {"decode": 3_000_000, "infer": 5_000_000, "after": 7_000_000}

    def slow(name: str, inner: Any) -> Any:
        def call(*given: Any) -> Any:
            nonlocal now
            now += spent[name]
            return inner(*given)

        return call

    whole = opened(Red(), folder)
    monkeypatch.setattr(stage, "perf_counter_ns", lambda: now)
    monkeypatch.setattr(stage, "decode", slow("decode", stage.decode))
    monkeypatch.setattr(stage, "detections", slow("after", stage.detections))
    monkeypatch.setattr(whole.session, "run", slow("infer", whole.session.run), raising=False)
    whole.run(0)
    assert whole.last_ms[part] == pytest.approx(spent[part] / 1e6)
    assert sum(whole.last_ms.values()) == pytest.approx(15)


def test_files_are_read_before_the_clock(folder: Path) -> None:
    whole = opened(Red(), folder)
    for path in folder.iterdir():
        path.unlink()
    assert whole.run(0)["count"].tolist() == [1]


# --- what is told ----------------------------------------------------------------------------------------------


def test_the_details_tell_what_was_inside_and_what_was_found(folder: Path) -> None:
    whole = opened(Red(), folder)
    assert "boxes_per_image" not in whole.details  # nothing seen yet
    for turn in range(3):
        whole.run(turn)
    told = whole.details
    assert told["boundary"] == "end_to_end" and told["inside"] == list(whole.parts)
    assert told["preparation"]["kind"] == "letterbox"
    assert told["preparation_sha256"] == whole.preparation.sha256
    assert told["opencv"] == cv2.__version__ and told["opencv_threads"] == cv2.getNumThreads()
    assert told["boxes_per_image"] == {"least": 0, "median": 1, "most": 1, "images": 3}
    assert told["after"] == "nms of decoded outputs" and "note" not in told
    assert whole.inputs == told["images"] == "3 image files, 3 sizes from 64x64 to 90x180"


def test_a_model_that_finds_nothing_is_noted(folder: Path) -> None:
    whole = opened(Says(np.zeros((1, 6, ANCHORS), np.float32)), folder)
    whole.run(0)
    assert "found nothing in 1 images" in whole.details["note"]


def test_random_weights_are_noted_by_their_many_candidates(tmp_path: Path) -> None:
    class Wide(Says):
        inputs = (TensorSpec(name="images", shape=(1, 3, 320, 320), dtype="float32"),)
        outputs = (TensorSpec(name="output0", shape=(1, 6, 2100), dtype="float32"),)

    noise = np.random.default_rng(0).random((1, 6, 2100)).astype(np.float32)
    noise[:, :4] *= 320
    drawn(tmp_path / "0.png", (64, 64), None)
    whole = opened(Wide(noise), tmp_path)
    whole.run(0)
    told = whole.details
    assert told["candidates_per_image"]["most"] == int((noise[0, 4:].max(0) > 0.25).sum())
    assert f"Up to {told['candidates_per_image']['most']} candidates" in told["note"]


def test_nan_of_the_model_is_seen_though_it_is_above_no_threshold(folder: Path) -> None:
    whole = opened(Says(np.full((1, 6, ANCHORS), np.nan, np.float32)), folder)
    assert whole.run(0)["count"].tolist() == [0]
    assert "NaN" in whole.wrong()
    fine = opened(Red(), folder)
    fine.run(0)
    assert fine.wrong() == ""


# --- images ----------------------------------------------------------------------------------------------------


def test_images_are_files_folders_or_the_validation_images_of_a_dataset(folder: Path, tmp_path: Path) -> None:
    assert [p.name for p in images_of([str(folder)])] == ["0.png", "1.png", "2.png"]
    assert [p.name for p in images_of([str(folder / "2.png"), str(folder / "0.png")])] == ["2.png", "0.png"]
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (tmp_path / "set" / part / split).mkdir(parents=True)
        drawn(tmp_path / "set/images" / split / f"{split}.png", (64, 64), (0, 0, 9, 9))
        (tmp_path / "set/labels" / split / f"{split}.txt").write_text("0 0.1 0.1 0.1 0.1\n")
    (tmp_path / "set/data.yaml").write_text("train: images/train\nval: images/val\nnames: [red]\n")
    assert [p.name for p in images_of([str(tmp_path / "set/data.yaml")])] == ["val.png"]
    for split in ("train", "valid"):
        (tmp_path / "classes" / split / "007").mkdir(parents=True)
        drawn(tmp_path / "classes" / split / "007" / f"{split}.png", (64, 64), (0, 0, 9, 9))
    assert [p.name for p in images_of([str(tmp_path / "classes")])] == ["valid.png"]


def test_of_many_images_64_are_taken_evenly_and_it_is_said(tmp_path: Path) -> None:
    chosen = few([Path(str(i)) for i in range(6400)])
    assert [p.name for p in chosen[:3]] == ["0", "100", "200"] and len(set(chosen)) == 64
    for i in range(70):
        drawn(tmp_path / f"{i:02}.png", (16, 16), None)
    whole = opened(Red(), tmp_path)
    assert whole.count == 64 and whole.inputs == "64 of 70 image files, 16x16"


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"images": "nowhere"}, "nowhere: no such file or folder"),
        ({"images": []}, "needs images: give --images"),
        ({"after": "nsm"}, "did you mean 'nms'"),
        ({"after": "top-k"}, "--after top-k reads"),
        ({"after": "none"}, "say --prepare detector, classifier or FILE.yaml"),
        ({"prepare": "detectr"}, "did you mean 'detector'"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(folder: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_end_to_end({"batch": 1, "images": str(folder), **more}, Red())  # type: ignore[arg-type]


def test_an_empty_folder_and_a_broken_image_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no images \(\.bmp"):
        opened(Red(), tmp_path / "empty")
    (folder / "3.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"3\.jpg: OpenCV cannot decode"):
        opened(Red(), folder)


def test_a_model_without_one_image_input_is_refused(folder: Path) -> None:
    class Two(Red):
        inputs = (*Red.inputs, TensorSpec(name="state", shape=(1, 8), dtype="float32"))

    class Text(Red):
        inputs = (TensorSpec(name="ids", shape=(1, 128), dtype="int64"),)

    with pytest.raises(InputError, match="one image input; this one takes images, state"):
        opened(Two(), folder)
    with pytest.raises(InputError, match="takes no image of a fixed size"):
        opened(Text(), folder)


# --- real models -----------------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_an_int8_classifier_names_the_cat_on_a_real_photo(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from deploytk.runtimes import litert

    (tmp_path / "inception.yaml").write_text("kind: center-crop\nmean: [0.5, 0.5, 0.5]\nstd: [0.5, 0.5, 0.5]\n")
    session = litert.open_session(data_dir / "coral/mobilenet_v1_0.25_128_quant.tflite", batch=1, threads=1)
    whole = opened(session, data_dir / "coral/cat.bmp", prepare=str(tmp_path / "inception.yaml"))  # type: ignore[arg-type]
    results = whole.run(0)
    names = (data_dir / "coral/imagenet_labels.txt").read_text().splitlines()
    best = [names[label] for label in results["labels"][0]]
    assert whole.preparation.dtype == "uint8" and whole.preparation.layout == "nhwc"
    assert any("cat" in name for name in best[:2]), best
    assert whole.wrong() == ""


@pytest.mark.e2e
@pytest.mark.parametrize("batch", [1, 3])
def test_a_real_classifier_gives_what_it_gives_step_by_step(data_dir: Path, tmp_path: Path, batch: int) -> None:
    pytest.importorskip("onnxruntime")
    from deploytk.runtimes import onnx

    (tmp_path / "cifar.yaml").write_text("kind: resize\ndivide_by: 1\n")
    model = data_dir / "mlperf_tiny_qdq_onnx/ic/K1_BOARD_V1.0/models/resnet.onnx"
    session = onnx.open_session(model, batch=batch, threads=1)
    spec = {"batch": batch, "images": str(data_dir / "ort_examples"), "prepare": str(tmp_path / "cifar.yaml")}
    whole = open_end_to_end(spec, session)
    images = images_of([spec["images"]])  # type: ignore[list-item]
    assert whole.count == len(images) == 3
    results = whole.run(1)
    for item in range(batch):
        with Image.open(images[(1 + item) % 3]) as opened_image:
            small = opened_image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
        feed = np.asarray(small, np.float32)[None].repeat(batch, 0)
        (logits,) = session.run({session.inputs[0].name: feed}).values()
        assert results["labels"][item, 0] == logits[0].argmax()


@pytest.mark.e2e
def test_a_yolo_with_random_weights_runs_from_photo_to_boxes(data_dir: Path, tmp_path: Path) -> None:
    """An ONNX graph with the outputs of a YOLO head, of a few operators."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from deploytk.runtimes import onnx as runtime

    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.normal(0, 2, (6, 3, 8, 8)).astype(np.float32), "w")
    shape = onnx.numpy_helper.from_array(np.array([0, 6, 64], np.int64), "s")
    more = onnx.numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 20], np.int64), "p")
    nodes = [
        onnx.helper.make_node("Conv", ["images", "w"], ["c"], strides=[8, 8]),
        onnx.helper.make_node("Reshape", ["c", "s"], ["r"]),
        onnx.helper.make_node("Sigmoid", ["r"], ["g"]),
        onnx.helper.make_node("Pad", ["g", "p"], ["output0"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "yolo", [value("images", 1, ["n", 3, SIDE, SIDE])], [value("output0", 1, ["n", 6, ANCHORS])],
        [weights, shape, more],
    )  # fmt: skip
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "y.onnx",
    )
    session = runtime.open_session(tmp_path / "y.onnx", batch=2, threads=1)
    whole = opened(session, data_dir / "bccd_voc/JPEGImages", batch=2)  # type: ignore[arg-type]
    results = whole.run(5)
    assert results["count"].min() > 0
    assert (results["boxes"] >= 0).all() and (results["boxes"][..., 2] <= 640).all()
    assert whole.details["boxes_per_image"]["images"] == 2 and whole.wrong() == ""
