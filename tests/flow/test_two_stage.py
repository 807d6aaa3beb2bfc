"""A pipeline of two models for real, small: trained in turns, exported, joined, compared with torch, benched, used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_pipeline import deploytk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

PROFILE = """schema: 1
extends: two-stage-quickstart
name: tiny
export: {precision: fp32}
bench: {batches: "1", time_limit_s: 15}
budget: {latency_ms: 500}
train: {imgsz: 64, epochs: 1, workers: 0}
parts:
  detector: {cycle: 1, train: {imgsz: 64, epochs: 1, batch: 8}}
  classifier: {train: {imgsz: 32, epochs: 2, batch: 8}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str | Path], dict[str, Any]]:
    root = tmp_path_factory.mktemp("two")
    deploytk("demo-data", root / "data", "--train", "16", "--val", "8", "--imgsz", "96", expect=0)
    (root / "tiny.yaml").write_text(PROFILE)
    argv = ["run", root / "tiny.yaml", "--data", root / "data" / "data.yaml", "--out", root / "run"]
    return root, argv, deploytk(*argv)


def test_the_verdict_is_about_the_whole_and_a_detector_that_learned_nothing_is_no_pass(made: Any) -> None:
    _, _, told = made
    assert (told["verdict"], told["exit_code"]) == ("inconclusive", 4)
    assert [row["part"] for row in told["sections"]["parts"]] == ["detector", "classifier"]
    assert {row["epochs"] for row in told["sections"]["parts"]} == {1, 2}
    assert told["artifact"]["format"] == "pipeline"
    assert told["sections"]["accuracy"]["source_is"] == "torch"
    assert [row["crops"] for row in told["sections"]["pipeline"]["crops"]][:2] == [0, 1]
    chain = {a["sha256"] for a in told["chain"]}
    assert {m["artifact_sha256"] for m in told["measurements"]} <= chain


def test_again_everything_is_skipped_and_the_same_is_said(made: Any) -> None:
    _, argv, told = made
    again = deploytk(*argv)
    assert all(again["sections"]["skipped"].values())
    assert [m["samples_ms"] for m in again["measurements"]] == [m["samples_ms"] for m in told["measurements"]]
    assert again["artifact"]["sha256"] == told["artifact"]["sha256"]


def test_the_pipeline_is_one_thing_for_every_command(made: Any) -> None:
    root, _, _ = made
    pipeline = root / "run" / "pipeline"
    told = deploytk("predict", pipeline, root / "data" / "images" / "val", "--out", root / "drawn", expect=0)
    assert told["artifact"]["format"] == "pipeline"
    assert len(list((root / "drawn").glob("*.jpg"))) == 8
    refused = deploytk("bench", root / "run" / "detector", "--batches", "1")
    assert refused["exit_code"] == 2


def test_a_target_that_no_pipeline_runs_on_is_refused_before_anything_is_trained(made: Any) -> None:
    root, argv, _ = made
    told = deploytk(*argv[:-1], root / "other", "--target", "tensorrt", expect=2)
    assert "each of its models can be exported to tensorrt by itself" in told["reasons"][0]
    assert not (root / "other").exists()
