"""training_report.md and curves.png: from metadata.json, state.json and the events of whatever backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from happenings import anything, epoch, outcome, segment
from hypothesis import HealthCheck, given, settings
from toy_training import profile

from deploytk.stages.train import train
from deploytk.training import curves, reporting
from deploytk.training.story import told

Faults = Callable[[str], None]
PNG = b"\x89PNG"


def test_a_training_with_faults_is_told_whole(toy: Faults, tmp_path: Path) -> None:
    toy("oom@2,nan@4")
    stones = [{"epoch": 3, "metric": "accuracy", "at_least": 0.99}]
    rules = [{"after": 2, "metric": "accuracy", "below": 0.999, "lr": 0.5}]
    report = train(profile(milestones=stones, rules=rules), tmp_path / "run")
    summary = report.sections["train"]
    reporting.write(tmp_path / "run", {**summary, "activations": {"head": {"ReLU": 3}}, "data": {"images": {"val": 8}}})
    text = (tmp_path / "run" / "training_report.md").read_text()
    for line in (
        "# Training of toy",
        "6 of 6 epochs",
        "- out of memory before epoch 2: out of memory: batch 8 and 2 batches per step",
        "- rollback before epoch 4: rollback 1 of 3",
        "| 3 | accuracy | 0.99 |",
        "below 0.999: lr x 0.5 (advised)",
        "| head | 3 x ReLU |",
        "images: 8 val",
        "| epoch | loss | accuracy | val_loss | lr |",
    ):
        assert line in text
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == PNG
    assert [stone["met"] for stone in summary["milestones"]] == [False]
    assert [(row["epoch"], row["then"]) for row in summary["memory"]] == [(2, {"batch": 8, "accumulate": 2})]
    assert [row["epoch"] for row in summary["checkpoints"] if row["best"]] == [summary["best_epoch"]]


def test_nothing_but_events_is_enough(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    happened = [segment(), epoch(1, 0.2), outcome("collapse"), segment(2, reason="a | b"), epoch(2, float("nan"))]
    (tmp_path / "training" / "events.jsonl").write_text("\n".join(map(json.dumps, happened)) + '\n{"event": "ep')
    reporting.write(tmp_path, {})
    text = (tmp_path / "training_report.md").read_text()
    assert "- rollback before epoch 2: a \\| b" in text
    assert "| 2 | 1 | 0.5000 |" in text or "| 2 | 1 | 0.5 |" in text


def test_a_damaged_state_and_table_do_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "training" / "checkpoints").mkdir(parents=True)
    (tmp_path / "training" / "state.json").write_text("{")
    (tmp_path / "training" / "checkpoints" / "metadata.json").write_text('[1, {"epoch": "x"}, {"epoch": 1}]')
    reporting.write(tmp_path, {"name": "half"})
    assert "# Training of half" in (tmp_path / "training_report.md").read_text()


@settings(deadline=None)
@given(happened=anything, summary=anything)
def test_any_events_and_any_summary_make_a_report(
    happened: list[dict[str, Any]], summary: list[dict[str, Any]]
) -> None:
    story = told(happened)
    named = dict(zip(("model", "training", "data", "metrics", "activations", "versions"), summary, strict=False))
    text = reporting.markdown({**named, "findings": summary}, story, list(story.rows.values()), None)
    assert text.startswith("# Training of")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=anything)
def test_any_events_make_a_picture(tmp_path: Path, happened: list[dict[str, Any]]) -> None:
    story = told(happened)
    curves.draw(tmp_path / "curves.png", list(story.rows.values()), story.marks, story.milestones)
    assert (tmp_path / "curves.png").read_bytes()[:4] == PNG


@pytest.mark.parametrize("value", [0.0, -1.0, 1e299, 10**400, float("inf"), "high", None, [1], True])
def test_a_value_that_is_no_loss_does_not_spoil_the_picture(tmp_path: Path, value: Any) -> None:
    rows = [epoch(1, 0.2), epoch(2, 0.3, losses={"box": value, "_$": 1.0}, metrics={"val_loss": value}, lr=value)]
    curves.draw(tmp_path / "curves.png", rows, [], [{"epoch": 1, "at_least": value}])
    assert (tmp_path / "curves.png").stat().st_size > 1000
