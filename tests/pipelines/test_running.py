"""A pipeline that runs: the right names in the right places, for every way an image or a batch is given."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")
import tiny_pipeline

import deploytk
from deploytk.data.crops import Crops
from deploytk.data.preparation import decode
from deploytk.errors import InputError
from deploytk.pipelines import folder
from deploytk.pipelines.running import PARTS, Pipeline

FIVE: list[tuple[str, tiny_pipeline.Square]] = [
    (name, (x, y, x + 16, y + 16))
    for name, x, y in [("042", 0, 0), ("007", 32, 0), ("042", 48, 16), ("007", 0, 32), ("042", 32, 48)]
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("running")
    for batch in ("batch", 1, 2):
        tiny_pipeline.write(found / f"p-{batch}", batch=batch)
    tiny_pipeline.photo(found / "two.png", [("007", (0, 64, 32, 96)), ("042", (96, 32, 128, 64))], (128, 128))
    tiny_pipeline.photo(found / "five.png", FIVE)
    tiny_pipeline.photo(found / "none.png", [], (100, 40))
    return found


@pytest.fixture(scope="module")
def pipeline(root: Path) -> Pipeline:
    return deploytk.load(root / "p-batch")


def test_an_object_is_found_in_the_pixels_of_the_image_and_called_by_its_name(root: Path, pipeline: Pipeline) -> None:
    path = tiny_pipeline.photo(root / "wide.png", [("042", (64, 32, 96, 64))], (128, 64))
    found = pipeline(path)
    assert found.boxes.tolist() == [[64, 32, 96, 64]] and found.boxes.dtype == np.float32
    assert found.names == (("042", "007"),) and found.labels == ("thing",)
    assert found.probabilities[0] == pytest.approx([1, 0], abs=1e-3) and found.scores == pytest.approx([1])
    assert found.as_dict()["objects"][0]["names"] == ["042", "007"]


def test_a_path_its_bytes_and_its_pixels_say_the_same(root: Path, pipeline: Pipeline) -> None:
    path = root / "five.png"
    found = [pipeline(given) for given in (path, str(path), path.read_bytes(), decode(path.read_bytes()))]
    assert all(one.names == found[0].names and np.array_equal(one.boxes, found[0].boxes) for one in found)


def test_more_boxes_than_crops_have_no_names(root: Path, pipeline: Pipeline) -> None:
    found = pipeline(root / "five.png")
    assert (len(found.scores), found.named, found.probabilities.shape) == (5, 4, (4, 2))
    assert found.as_dict()["objects"][4]["names"] == []


@pytest.mark.parametrize("batch", ["batch", 1, 2])
def test_every_batch_size_of_the_classifier_gives_the_same_names(root: Path, batch: str | int) -> None:
    one = deploytk.load(root / f"p-{batch}")
    assert one.classifier.sizes == {"batch": "1 to 2", 1: "1 or 2", 2: "1 or 2"}[batch]
    expected, found = {box: name for name, box in FIVE}, one(root / "five.png")
    for box, names in zip(found.boxes.tolist(), found.names, strict=False):
        assert names[0] == expected[tuple(box)]


def test_several_images_at_a_time_say_what_each_says_alone(root: Path, pipeline: Pipeline) -> None:
    images = [root / f"{name}.png" for name in ("five", "none", "two")]
    together = deploytk.load(root / "p-batch", images=2).many(images)
    for one, image in zip(together, images, strict=True):
        alone = pipeline(image)
        assert one.names == alone.names and np.array_equal(one.boxes, alone.boxes)
    assert together[1].as_dict()["objects"] == [] and together[1].probabilities.shape == (0, 2)


def test_the_stages_sum_up_to_the_call_and_without_crops_nothing_is_classified(root: Path, pipeline: Pipeline) -> None:
    found = pipeline(root / "none.png")
    assert tuple(found.ms) == PARTS and found.ms["classify"] == found.ms["crop"] == 0
    assert pipeline(root / "five.png").ms["classify"] > 0


def test_results_stay_what_they_are_when_the_pipeline_runs_on(root: Path, pipeline: Pipeline) -> None:
    first = pipeline(root / "two.png")
    kept = first.boxes.copy(), first.probabilities.copy()
    pipeline(root / "five.png")
    assert np.array_equal(first.boxes, kept[0]) and np.array_equal(first.probabilities, kept[1])


def test_crops_are_views_on_the_original_pixels(pipeline: Pipeline) -> None:
    """The detector sees 32 of 512 pixels; the crop has all of them, and nothing is copied."""
    pixels = np.zeros((512, 512, 3), np.uint8)
    (crop,) = pipeline._crops(pixels, np.array([[0, 16, 128, 80]], np.float32))
    assert crop.shape == (64, 128, 3) and np.shares_memory(crop, pixels)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8), b"no image"]
)
def test_what_is_no_image_is_refused(pipeline: Pipeline, image: np.ndarray | bytes) -> None:
    with pytest.raises(InputError):
        pipeline(image)


def test_models_that_do_not_fit_what_is_said_of_them_are_refused(root: Path) -> None:
    first, second = root / "p-batch" / "detector.onnx", root / "p-batch" / "classifier.onnx"
    finds, names = tiny_pipeline.FINDS, tiny_pipeline.NAMES_IT
    cases = {
        r"classifier\.labels: 3 labels": {"classifier": folder.Model(file=second, labels="abc", preparation=names)},
        r"detector\.labels: 2 labels": {"detector": folder.Model(file=first, labels="ab", preparation=finds)},
        r"classifier\.preparation: ": {"classifier": folder.Model(file=second, labels="ab", preparation=finds)},
    }
    for number, (said, parts) in enumerate(cases.items()):
        tiny_pipeline.write(root / f"wrong{number}", **parts)
        with pytest.raises(InputError, match=said):
            deploytk.load(root / f"wrong{number}")


def test_two_sessions_of_onnx_runtime_do_not_spin_on(pipeline: Pipeline) -> None:
    assert pipeline.detector.details["spin"] == pipeline.classifier.details["spin"] == "stop"


def test_openvino_finds_the_same(root: Path, pipeline: Pipeline) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    tiny_pipeline.write(root / "ov", runtime="openvino", crops=Crops(most=4))
    found, expected = deploytk.load(root / "ov")(root / "five.png"), pipeline(root / "five.png")
    assert found.names == expected.names
    assert found.boxes == pytest.approx(expected.boxes, abs=0.01)


def test_importing_deploytk_stays_light() -> None:
    import subprocess

    code = "import deploytk, sys; print(sorted({'numpy', 'pydantic', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
