"""pipeline.json: read strictly, written whole, and never believed where a model is another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
import tiny_pipeline

from deploytk.data.crops import Crops
from deploytk.errors import InputError
from deploytk.pipelines import description, folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> description.Described:
    return tiny_pipeline.write(tmp_path_factory.mktemp("pipeline") / "p")


def changed(made: description.Described, place: str, value: Any) -> Path:
    """The pipeline.json with another value at `part.key`, beside the same models."""
    told = json.loads(made.path.read_text())
    at: Any = told
    *path, last = place.split(".")
    for key in path:
        at = at[key]
    at[last] = value
    copy = made.path.parent / "changed" / "pipeline.json"
    copy.parent.mkdir(exist_ok=True)
    for model in (made.detector, made.classifier):
        (copy.parent / model.name).write_bytes(model.read_bytes())
    copy.write_text(json.dumps(told))
    return copy


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("detector.scor_above", 0.4, "unknown key 'scor_above'; did you mean 'score_above'?"),
        ("crop", {}, "unknown key 'crop'; did you mean 'crops'?"),
        ("detector.score_above", "0.4", "detector.score_above: Input should be a valid number"),
        ("detector.score_above", 1.0, "score_above: between 0 and 1"),
        ("classifier.labels", ["007", 42], "classifier.labels.1: Input should be a valid string (got 42)"),
        ("classifier.labels", ["007", "007"], "labels: '007' is there more than once"),
        ("classifier.file", "/models/c.onnx", "a path relative to pipeline.json"),
        ("classifier.file", "c.onnx", "is not there; copy the whole folder"),
        ("classifier.preparation.sise", [8, 8], "unknown key 'sise'; did you mean 'size'?"),
        ("runtime", "torch", "runtime: Input should be 'onnx', 'openvino' or 'litert'"),
        ("schema", 2, "schema: Input should be 1"),
        ("detector.sha256", "0" * 64, "is not the model that pipeline.json names"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(made: description.Described, place: str, value: Any, said: str) -> None:
    copy = changed(made, place, value)
    with pytest.raises(InputError) as caught:
        description.read(copy)
    assert said in caught.value.message and str(copy.parent) in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: not JSON"),
        ('{"schema": 1,\n "runtime": "onnx"', ":2: not JSON"),
        ("[]", "not a mapping"),
        ('{"runtime": "onnx", "runtime": "litert"}', "'runtime' is written twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_mapping_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pipeline.json").write_text(text)
    with pytest.raises(InputError, match=r"pipeline\.json") as caught:
        description.read(tmp_path)
    assert said in caught.value.message


def test_thousands_of_labels_stay_the_strings_they_are(tmp_path: Path) -> None:
    labels = [f"{number:05d}" for number in range(4521)] + ["1e3", "알약 😀"]
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x")
    given = folder.Model(file=model, labels=labels, preparation=tiny_pipeline.NAMES_IT)
    whole = folder.Model(file=model, labels=["pill"], preparation=tiny_pipeline.FINDS)
    folder.write(tmp_path / "out", detector=whole, classifier=given, runtime="onnx")
    assert list(description.read(tmp_path / "out").description.classifier.labels) == labels
    assert (tmp_path / "out/labels.txt").read_text().splitlines() == labels


def test_a_folder_is_written_whole_and_replaces_only_its_like(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = tiny_pipeline.write(out)
    assert tiny_pipeline.write(out, crops=Crops(most=2)).description.crops.most == 2
    assert {p.name for p in out.iterdir()} >= {"pipeline.json", "labels.txt", "lineage.json", "run.py"}
    assert description.read(out).description.detector == first.description.detector
    with pytest.raises(InputError, match=r"detector\.most_boxes"):
        bad = folder.Model(
            file=first.detector, labels=["x"], preparation=tiny_pipeline.FINDS, settings={"most_boxes": 0}
        )
        tiny_pipeline.write(tmp_path / "bad", detector=bad)
    assert not (tmp_path / "bad").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(InputError, match="something else is there"):
        tiny_pipeline.write(tmp_path / "mine")


def test_crops_have_a_margin_become_square_and_stay_inside() -> None:
    boxes = np.array([[10, 20, 30, 60], [-5, -5, 4, 4], [99.5, 49.5, 100, 50], [50, 10, 50, 10]], np.float32)
    plain = Crops().places(boxes, 50, 100)
    assert plain.tolist() == [[10, 20, 30, 50], [0, 0, 4, 4], [99, 49, 100, 50], [50, 10, 51, 11]]
    assert Crops(margin=0.5).places(boxes[:1], 100, 100).tolist() == [[0, 0, 40, 80]]
    assert Crops(square=True).places(boxes[:1], 100, 100).tolist() == [[0, 20, 40, 60]]
    assert Crops().places(boxes[:0], 50, 100).shape == (0, 4)
