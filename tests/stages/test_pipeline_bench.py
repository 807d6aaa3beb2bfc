"""A pipeline under the clock: the parts of a call, forced numbers of crops, rows and verdicts, what is refused."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")
import tiny_pipeline

from deploytk.budget import Budget
from deploytk.data.detections import Detections
from deploytk.errors import InputError
from deploytk.pipelines.running import PARTS
from deploytk.report import content, loading
from deploytk.stages.bench_child import Child, answer
from deploytk.stages.bench_pipeline import Asked, bench
from deploytk.stages.bench_pipeline_child import Exactly, open_whole

SQUARES: list[list[tuple[str, tiny_pipeline.Square]]] = [
    [],
    [("007", (16, 16, 32, 32))],
    [("042", (0, 0, 16, 16)), ("007", (32, 32, 48, 48)), ("042", (48, 0, 64, 16))],
]
E2E = Budget(latency_ms=1000, boundary="end_to_end")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("bench")
    tiny_pipeline.write(found / "p")
    tiny_pipeline.write(found / "nan", blue=float("nan"))
    for number, squares in enumerate(SQUARES):
        tiny_pipeline.photo(found / "images" / f"{number}.png", squares)
    return found


def spec(root: Path, name: str = "p", **more: Any) -> dict[str, Any]:
    return {
        "model": str(root / name / "pipeline.json"),
        "format": "pipeline",
        "runtime": "onnx",
        "batch": 1,
        "threads": 1,
        "images": [str(root / "images")],
        **more,
    }


def test_the_parts_of_a_call_sum_up_to_it_and_each_turn_is_another_image(root: Path) -> None:
    whole = open_whole(spec(root))
    for turn in range(3):
        whole.run(turn)
    began = perf_counter_ns()
    whole.run(2)
    took = (perf_counter_ns() - began) / 1e6
    assert tuple(whole.last_ms) == PARTS == whole.parts
    assert sum(whole.last_ms.values()) == pytest.approx(took, rel=0.2, abs=0.2)
    told = whole.details
    assert told["crops_per_image"] == {"least": 0, "median": 1, "most": 3, "images": 3}
    assert "drawn_share" not in told and told["opencv"]


def test_several_images_in_a_call_are_classified_together(root: Path) -> None:
    whole = open_whole(spec(root, batch=3))
    whole.run(0)
    assert [len(classes) for classes in whole.pipeline.last_classes] == [2, 2]  # 4 crops of 3 images, 2 at a time
    assert not whole.wrong()


def test_exactly_so_many_crops_are_the_most_certain_boxes_and_then_drawn_ones() -> None:
    boxes = np.array([(0, 0, 9, 9), (5, 5, 8, 8), (1, 1, 2, 2)], np.float32)
    found = Detections(boxes=boxes, scores=np.array([0.9, 0.8, 0.7]), labels=np.zeros(3, np.int64), candidates=3)
    assert np.array_equal(Exactly(2)(found, 100, 200), boxes[:2])
    forced = Exactly(5)
    made = forced(found, 100, 200)
    assert np.array_equal(made[:3], boxes) and made.shape == (5, 4)
    sides = (made[3:, 2:] - made[3:, :2]) / (200, 100)
    assert (sides >= 0.1 - 1e-6).all() and (sides <= 0.4 + 1e-6).all() and (made[3:] >= 0).all()
    assert np.array_equal(forced(found, 100, 200), made) and forced.drawn / forced.made == pytest.approx(0.4)
    assert Exactly(0)(found, 100, 200).shape == (0, 4)


def test_a_classifier_that_says_nan_is_a_bad_output(root: Path) -> None:
    child = Child(spec(root, "nan", crops=1))
    assert "load_ms" in answer(child, {"do": "open"})
    said = answer(child, {"do": "warm", "limit_s": 0.1})
    assert said["status"] == "bad_output" and "classifier" in said["reason"]


@pytest.mark.parametrize(
    ("asked", "budget", "said"),
    [
        ({}, Budget(), "add --boundary end_to_end"),
        ({"images": []}, E2E, "give --images"),
        ({"crops": [1, 5]}, E2E, "--crops 5: .* at most 4 crops"),
    ],
)
def test_what_a_pipeline_is_not_benched_with(root: Path, asked: dict[str, Any], budget: Budget, said: str) -> None:
    with pytest.raises(InputError, match=said):
        bench(root / "p", Asked(**{"images": [str(root / "images")], **asked}), budget=budget, out=root / "out")
    assert not (root / "out").exists()


@pytest.mark.e2e
def test_a_pipeline_is_judged_as_a_whole_with_rows_for_numbers_of_crops(root: Path, tmp_path: Path) -> None:
    asked = Asked(images=[str(root / "images")], crops=(0, 2), time_limit_s=16)
    report = bench(root / "p", asked, budget=E2E, out=tmp_path)
    assert (report.verdict.status, report.exit_code) == ("pass", 0), report.verdict.reasons
    (row,) = report.sections["bench"]["rows"]
    assert tuple(row["parts"]) == PARTS and row["n"] >= 59
    told = report.sections["pipeline"]
    assert [(r["crops"], r["verdict"]) for r in told["crops"]] == [(0, "pass"), (2, "pass")]
    assert told["crops"][0]["parts"]["classify"] == 0 and not told["crops"][0]["drawn_share"]
    assert 0.3 < told["crops"][1]["drawn_share"] < 0.7  # 0, 1 and 3 boxes where 2 are wanted
    stages = {r["stage"]: r for r in told["stages"]}
    parts = sum(stages[name]["mean_ms"] for name in PARTS)
    assert 0.7 * stages["whole"]["mean_ms"] < parts < 1.001 * stages["whole"]["mean_ms"]  # others may come between
    again = loading.report_from(report.as_dict())
    titles = [t.title for b in content.blocks(again) if b.name == "pipeline" for t in b.tables]
    assert len(titles) == 3 and titles[0].startswith("Where the time goes")
    assert [a.path.name for a in report.chain] == ["detector.onnx", "classifier.onnx", "pipeline.json"]
