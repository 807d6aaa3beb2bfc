"""How right a deployed pipeline is, beside another one and beside torch, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")
import tiny_pipeline

from deploytk.errors import InputError
from deploytk.pipelines import description
from deploytk.report import content
from deploytk.runtimes import onnx
from deploytk.stages import evaluate as stage
from deploytk.stages import torch_pipeline
from deploytk.stages.evaluate import Against, against_of, evaluate, evaluated

PHOTOS: list[list[tuple[str, tiny_pipeline.Square]]] = [
    [("007", (16, 16, 32, 32)), ("042", (32, 0, 48, 16))],
    [("042", (0, 48, 16, 64))],
    [],
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("evaluate")
    tiny_pipeline.write(found / "p")
    tiny_pipeline.write(found / "wrong", blue=-10.0)  # each name for the other
    tiny_pipeline.dataset(found / "data", PHOTOS)
    return found


def counted(root: Path, pipeline: str, against: dict[str, str]) -> dict[str, Any]:
    return evaluated(str(root / pipeline / "pipeline.json"), str(root / "data/data.yaml"), "val", against)


def test_each_stage_and_the_whole_are_counted(root: Path) -> None:
    told = counted(root, "p", {})["deployed"]
    assert (told["images"], told["objects"], told["names"]) == (3, 3, 2)
    rates = ("detector_mAP50", "detector_recall", "classifier_top1", "classifier_top5", "mAP50", "found_and_named")
    assert [told[name] for name in rates] == pytest.approx([1] * 6)


def test_wrong_names_are_the_classifiers_fault_and_the_wholes(root: Path) -> None:
    told = counted(root, "wrong", {"pipeline": str(root / "p")})
    deployed = told["deployed"]
    assert (deployed["detector_mAP50"], deployed["classifier_top1"], deployed["mAP50"]) == (1, 0, 0)
    assert deployed["classifier_top5"] == 1 and told["source"]["mAP50"] == 1
    assert (told["agreement"]["same_boxes"], told["agreement"]["same_names"]) == (1, 0)
    assert told["agreement"]["same"] == 1  # the image without objects


def numbers(value: float | None) -> dict[str, Any]:
    names = ("mAP50", "detector_mAP50", "classifier_top1")
    return dict.fromkeys(names, value)


@pytest.mark.parametrize(
    ("deployed", "source", "status", "said"),
    [
        (0.80, 0.81, "pass", "0.010 less than the 0.810"),
        (0.78, 0.81, "fail", "0.02 is allowed"),
        (0.0, 0.01, "inconclusive", "train longer"),
        (0.8, None, "pass", "compared with nothing"),
        (None, None, "inconclusive", "no objects"),
    ],
)
def test_the_verdict_is_on_the_whole(deployed: float | None, source: float | None, status: str, said: str) -> None:
    told = {"deployed": numbers(deployed), **({} if source is None else {"source": numbers(source)})}
    verdict = stage._verdict(told, 0.02)
    assert verdict.status == status and said in verdict.reasons[0]


class Backend:
    """A backend whose checkpoints are the tiny ONNX files beside them."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def describe(self, _checkpoint: Path) -> dict[str, Any]:
        return self.told

    def torch_predictor(self, checkpoint: Path) -> Any:
        session = onnx.open_session(checkpoint.with_suffix(".onnx"), batch=None, threads=1)
        return lambda batch: list(session.run({"x": batch}).values())

    def decode(self, maps: list[np.ndarray], _checkpoint: Path) -> np.ndarray:
        return maps[0]


@pytest.fixture
def checkpoints(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two run folders of the fake backends, and what their checkpoints say."""
    preparation = tiny_pipeline.NAMES_IT.model_dump(mode="json")
    backends = {
        "ultralytics": Backend({"imgsz": tiny_pipeline.SIDE, "classes": ["thing"]}),
        "classifier": Backend({"imgsz": 8, "classes": list(tiny_pipeline.NAMES), "preparation": preparation}),
    }
    for name in ("detector", "classifier"):
        (root / "run" / name).mkdir(parents=True, exist_ok=True)
        (root / "run" / name / "model.pt").write_bytes(b"tensors")
        (root / "run" / name / "model.onnx").write_bytes((root / "p" / f"{name}.onnx").read_bytes())
    monkeypatch.setattr(torch_pipeline, "checkpoint_kind", lambda path: f"deploytk-{path.parent.name}")
    fake = SimpleNamespace(load=lambda _table, name: backends[name])
    monkeypatch.setattr(torch_pipeline, "plugins", fake)
    return {name: str(root / "run" / name) for name in ("detector", "classifier")}


def test_the_trained_pipeline_runs_in_torch_around_the_same_stages(root: Path, checkpoints: dict[str, str]) -> None:
    told = counted(root, "wrong", checkpoints)
    assert told["source_is"] == "torch" and told["source"]["mAP50"] == 1 and told["deployed"]["mAP50"] == 0
    swapped = dict(zip(checkpoints, reversed(checkpoints.values()), strict=True))
    with pytest.raises(InputError, match="no detector of deploytk"):
        counted(root, "wrong", swapped)


def test_what_a_pipeline_is_compared_with(root: Path, tmp_path: Path, checkpoints: dict[str, str]) -> None:
    assert against_of(root / "p", None, None) == Against(pipeline=root / "p")
    run = Against(detector=Path(checkpoints["detector"]), classifier=Path(checkpoints["classifier"]))
    assert against_of(root / "run", None, None) == against_of(None, run.detector, run.classifier) == run
    assert against_of(None, None, None) is None
    for wrong in ((tmp_path, None, None), (None, tmp_path, None), (root / "p", tmp_path, tmp_path)):
        with pytest.raises(InputError):
            against_of(*wrong)


def test_classes_the_classifier_does_not_know_and_a_split_that_is_not_there_are_told(
    root: Path, tmp_path: Path
) -> None:
    described = description.read(root / "p")
    data = tiny_pipeline.dataset(tmp_path, PHOTOS, names=("007", "042", "aspirin"))
    with pytest.raises(InputError, match=r"1 of 3 are none of them \(first: 'aspirin'\)"):
        stage._samples(described, data, "val")
    with pytest.raises(InputError, match="no split 'test'; it has train, val"):
        stage._samples(described, root / "data/data.yaml", "test")


@pytest.mark.e2e
def test_a_loss_beyond_the_tolerance_is_exit_code_8(root: Path) -> None:
    report = evaluate(root / "wrong", root / "data/data.yaml", against=Against(pipeline=root / "p"))
    assert report.exit_code == 8 and "classifier top1 -1.000" in report.verdict.reasons[0]
    (block,) = [b for b in content.blocks(report) if b.name == "accuracy"]
    assert any("confidence order" in line for line in block.lines)
    assert [cell.text for cell in block.tables[0].rows[4]][2:] == ["0.000", "1.000", "-1.000"]
