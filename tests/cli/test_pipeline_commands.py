"""`deploytk predict`, `check`, `bench` and `evaluate` of a two-stage pipeline on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pipeline
from click.testing import CliRunner, Result

from deploytk.cli.main import cli

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("commands")
    tiny_pipeline.write(found / "p")
    tiny_pipeline.photo(found / "photos" / "a.png", [("042", (16, 16, 32, 32))])
    (found / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return found


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.e2e
def test_predict_tells_names_draws_boxes_and_leaves_out_what_cannot_be_read(root: Path, tmp_path: Path) -> None:
    done = run("predict", root / "p", root / "photos", root / "broken.jpg", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    (image,) = told["sections"]["predict"]["images"]
    assert image["objects"][0]["names"] == ["042", "007"] and image["objects"][0]["box"] == [16, 16, 32, 32]
    (finding,) = told["findings"]
    assert finding["where"].endswith("broken.jpg") and "left out" in finding["message"]
    drawn, photo = (cv2.imread(str(path)) for path in (tmp_path / "out/a.png", root / "photos/a.png"))
    assert drawn.shape == photo.shape and (drawn != photo).any()
    assert json.loads((tmp_path / "out/predictions.json").read_text())["images"] == [image]


@pytest.mark.e2e
def test_predict_with_nothing_that_can_be_read_is_exit_code_2(root: Path) -> None:
    done = run("predict", root / "p", root / "broken.jpg", root / "gone.png")
    assert done.exit_code == 2
    assert "broken.jpg" in done.stderr and "gone.png: cannot be read" in done.stderr


def test_check_says_what_is_in_a_pipeline(root: Path) -> None:
    done = run("check", root / "p")
    assert done.exit_code == 0
    assert all(word in done.stdout for word in ("detector.onnx", "007, 042", "at most 4 of an image", "PASS"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "p"], "add --boundary end_to_end"),
        (["bench", "p", "--runtime", "openvino"], "its runtime stands in pipeline.json"),
        (["bench", "p", "--soak", "1s"], "--scenario and --soak are for models"),
        (["bench", "p", "p"], "a pipeline is benched alone"),
        (["bench", "p/detector.onnx", "--crops", "1"], "--crops is for a pipeline"),
        (["bench", "p", "--crops", "few"], "write numbers of crops"),
        (["predict", "photos", "photos/a.png"], "no such pipeline"),
        (["predict", "p/pipeline.json", "empty"], "no images"),
        (["evaluate", "p", "--data", "gone.yaml"], "no such dataset"),
        (["evaluate", "p", "--data", "gone.yaml", "--detector", "x"], "belong together"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_exit_code_2(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(root)
    (root / "empty").mkdir(exist_ok=True)
    done = run(*words)
    assert done.exit_code == 2 and said in done.output, done.output
    assert not (root / "runs").exists()
