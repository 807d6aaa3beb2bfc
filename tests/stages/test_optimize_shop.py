"""A search with the real shop: tiny models really timed, only training, export and scoring stand-ins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_deployable import SIZE, detector

from deploytk import worker
from deploytk.artifact import Artifact
from deploytk.budget import Budget
from deploytk.errors import InputError, ParityFailed, RuleFailed
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages import bench_point, optimize_shop, optimize_steps
from deploytk.stages import optimize as stage
from deploytk.stages.optimize import Ask, optimize
from deploytk.stages.optimize_candidates import Variant
from deploytk.stages.optimize_shop import RealShop, made_from
from deploytk.stages.run_folder import RunFolder


class Children:
    """Stands in for `worker.call`: what is heavy is invented, what is light runs here."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.asked: list[str] = []

    def __call__(self, function: str, kwargs: dict[str, Any], **_: Any) -> Any:
        name = function.rpartition(":")[2]
        self.asked.append(name)
        if name in ("image_spec", "boxes"):
            return getattr(optimize_steps, name)(**kwargs)
        return getattr(self, name)(**kwargs)

    def trained(self, **_: Any) -> dict[str, float]:
        return {"mAP50": 0.8}

    def classes(self, **_: Any) -> list[str]:
        return ["red", "blue"]

    def onnx_from_checkpoint(self, out: str, **_: Any) -> None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        detector(Path(out))

    def exported(self, profile: dict[str, Any], **_: Any) -> dict[str, Any]:
        out = self.run.onnx
        self.onnx_from_checkpoint(str(out))
        assert profile["export"]["target"] == "onnx"
        source = Artifact.load(self.run.model)
        made = Artifact.record(
            out, format="onnx", precision="fp32", made_by="export-onnx", made_from=[source], metrics={"mAP50": 0.8}
        )
        return report([source, made], 0)


def report(chain: list[Artifact], code: int, **sections: Any) -> dict[str, Any]:
    told = [a.as_dict() for a in chain]
    return {"exit_code": code, "reasons": ["why"], "artifact": told[-1], "chain": told, "sections": sections}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder with a dataset of four noisy images."""
    data, folder = tmp_path / "data", RunFolder(tmp_path / "run")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (data / kind / split).mkdir(parents=True)
        for number in range(2):
            image = rng.integers(0, 255, (50, 80, 3), dtype=np.uint8)
            cv2.imwrite(str(data / "images" / split / f"{split}{number}.png"), image)
            (data / "labels" / split / f"{split}{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (data / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [red, blue]\n")
    folder.path.mkdir()
    told = {"name": "pills", "data": {"path": str(data / "data.yaml")}, "train": {"imgsz": SIZE}}
    folder.save_profile(Profile.model_validate(told))
    folder.model.write_text("weights")
    Artifact.record(folder.model, format="pt", precision="fp32", made_by="train", metrics={"mAP50": 0.8})
    return folder


@pytest.fixture
def children(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Children:
    fake = Children(run)
    monkeypatch.setattr(worker, "call", fake)
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    monkeypatch.setattr(optimize_shop, "real_inputs", lambda *_: None)
    monkeypatch.setattr(optimize_shop, "thread_counts", lambda: [1])
    return fake


def searched(run: RunFolder, **more: Any) -> Report:
    budget = Budget(latency_ms=200.0, max_accuracy_drop=0.01)
    return optimize(run, run.profile(), Ask(budget=budget, targets=["onnx"], precisions=["fp32"], **more))


def test_a_search_ends_with_a_folder_and_the_same_again_makes_nothing_anew(run: RunFolder, children: Children) -> None:
    first = searched(run)
    told = first.sections["optimize"]
    assert first.exit_code == 0, first.verdict.reasons
    assert told["chosen"].startswith("onnx fp32 64 px")  # and the number of threads that is faster here, if one is
    assert told["deployed"]["example"] == {"images": 2, "boxes": 4}
    verdict = json.loads((run.path / "deploy" / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["candidate"]["status"]) == ("pass", "chosen")
    assert "exported" in children.asked
    children.asked.clear()
    skipped = searched(run).sections["optimize"]["skipped"]
    assert "exported" not in children.asked
    anew = [name for name, found in skipped.items() if not found]
    assert all(name == "final round" or name.startswith("look ") for name in anew)  # what was disturbed


def test_a_folder_that_is_not_ours_is_refused_before_anything_is_made(run: RunFolder, children: Children) -> None:
    with pytest.raises(InputError, match="would be replaced"):
        searched(run, out=run.path)
    assert not children.asked


def test_nothing_is_fast_enough_and_no_folder_is_written(run: RunFolder, children: Children) -> None:  # noqa: ARG001
    budget = Budget(latency_ms=1e-4)
    report = optimize(run, run.profile(), Ask(budget=budget, targets=["onnx"], precisions=["fp32"], threads=1))
    assert report.exit_code == 3
    assert report.verdict.reasons[0].startswith("Nothing meets 0.0001 ms")
    assert not (run.path / "deploy").exists()


VARIANT = Variant(target="onnx", precision="int8", imgsz=SIZE)


def test_an_export_that_broke_a_rule_or_its_parity_is_refused_with_its_reasons(run: RunFolder) -> None:
    source = Artifact.load(run.model)
    with pytest.raises(RuleFailed, match="onnx int8 64 px: why"):
        made_from(report([source], 5), VARIANT, "mAP50")
    with pytest.raises(ParityFailed):
        made_from(report([source], 8), VARIANT, "mAP50")


def test_of_a_ladder_without_a_good_rung_the_attempt_that_lost_least_is_told(run: RunFolder) -> None:
    nothing = {"outcome": "dropped", "size_bytes": 10, "reason": "lost", "speed": {"ms": 4.0}}
    attempts = [
        {**nothing, "what": "full INT8", "metric": 0.5, "drop": 0.3},
        {**nothing, "what": "3 layers in float", "metric": 0.7, "drop": 0.1},
        {**nothing, "what": "percentile", "metric": None, "drop": None, "outcome": "failed"},
    ]
    made = made_from(report([Artifact.load(run.model)], 8, ladder={"attempts": attempts}), VARIANT, "mAP50")
    assert (made.artifact, made.metric, made.p50_ms) == (None, 0.7, 4.0)
    assert made.reason == "the best of 3 INT8 attempts (3 layers in float): lost"


def test_a_number_of_threads_leaves_no_settings_to_try(run: RunFolder) -> None:
    profile = run.profile()
    for threads, count in ((2, 0), ("auto", 2)):
        asked: Any = Ask(budget=Budget(), targets=["openvino"], threads=threads)
        shop = RealShop(run, profile, stage.wanted_of(asked, profile), run.path / "optimize", None)
        assert len(shop.settings("openvino")) % 2 == 0
        assert bool(shop.settings("openvino")) == bool(count)
