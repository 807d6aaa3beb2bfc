"""A sweep of learning rates: each a real training that nothing changes on the way, and one recommendation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from steps_in_process import patched
from toy_training import profile

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.report.content_search import sweep_block
from deploytk.stages import sweep_lr as stage
from deploytk.stages.run_folder import RunFolder
from deploytk.training import state as states
from deploytk.training.state import Folder

Faults = Callable[[str], None]


@pytest.fixture(autouse=True)
def steps(toy: Faults, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    toy("")
    return patched(monkeypatch)


def swept(out: Path, *rates: float, epochs: int = 4, how: Any = "auto", **sections: Any) -> Report:
    return stage.sweep_lr(profile(**sections), rates, out, epochs=epochs, how=how)


def told(out: Path) -> dict[str, Any]:
    return json.loads((out / "lr-sweep.json").read_text())


def test_each_rate_is_a_run_folder_and_the_best_is_recommended_as_a_patch(tmp_path: Path) -> None:
    report = swept(tmp_path / "out", 1e-4, 1e-2, 1e3)
    assert (report.exit_code, report.verdict.reasons[0]) == (0, "recommended: train.lr0: 0.01")
    found = told(tmp_path / "out")
    assert [(p["lr"], p["became"]) for p in found["points"]] == [
        (1e-4, "trained"),
        (1e-2, "trained"),
        (1e3, "diverged"),
    ]
    assert (found["recommended"], found["metric"], found["patch"]) == (0.01, "accuracy", "train:\n  lr0: 0.01\n")
    run = RunFolder(tmp_path / "out" / "lr-0.01")
    assert (run.profile().train.lr0, run.profile().train.epochs, run.model.is_file()) == (0.01, 4, True)
    for name in ("lr-sweep.png", "report.html", "report.md", "report.json", "matrix.json"):
        assert (tmp_path / "out" / name).is_file()
    block = sweep_block(report)[0]
    assert "In the profile: train: {lr0: 0.01}" in block.lines
    assert [row[4].text for row in block.tables[0].rows][:2] == ["–", "recommended, best"]


def test_a_point_that_diverges_keeps_its_rate_and_has_no_second_try(tmp_path: Path, toy: Faults) -> None:
    toy("nan@2")
    report = swept(tmp_path / "out", 0.01, 0.02, guard={"nan": "rollback", "collapse": "rollback"})
    points = told(tmp_path / "out")["points"]
    assert [p["became"] for p in points] == ["diverged", "diverged"]
    assert "in epoch 2" in points[0]["reason"]
    state = states.read(Folder(run=tmp_path / "out" / "lr-0.01"))
    assert state is not None
    assert [(s.segment.lr_scale, s.outcome.ended if s.outcome else "") for s in state.steps] == [(1.0, "nan")]
    assert (report.exit_code, "all 2 diverged" in report.verdict.reasons[0]) == (7, True)


@pytest.mark.parametrize("how", ["auto", "resume"])
def test_what_is_finished_or_has_diverged_is_not_trained_again(
    tmp_path: Path, toy: Faults, steps: list[str], how: Any
) -> None:
    toy("collapse@3")  # once in each folder: a second try would be spared
    first = swept(tmp_path / "out", 0.01, 0.02, epochs=6)
    steps.clear()
    again = swept(tmp_path / "out", 0.01, 0.02, epochs=6, how=how)
    assert [name for name in steps if name.startswith("train")] == []
    assert told(tmp_path / "out")["points"][0]["became"] == "diverged"
    assert again.verdict == first.verdict


def test_a_new_point_is_trained_and_the_others_are_taken_as_they_are(tmp_path: Path, steps: list[str]) -> None:
    swept(tmp_path / "out", 1e-4, 1e-2)
    steps.clear()
    swept(tmp_path / "out", 1e-4, 1e-3, 1e-2)
    assert [name for name in steps if name.startswith("train_")] == ["train_01", "train_finish"]


def test_a_crash_is_no_divergence_and_is_told_as_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deploytk.stages import matrix as matrices

    real = matrices.train

    def train(wanted: Profile, *args: Any, **more: Any) -> Report:
        if wanted.train.lr0 == 1e-3:
            raise OSError("the disk is gone")
        return real(wanted, *args, **more)

    monkeypatch.setattr(matrices, "train", train)
    report = swept(tmp_path / "out", 1e-4, 1e-3, 1e-2, 1e3)
    assert (report.exit_code, report.verdict.status) == (4, "inconclusive")
    assert told(tmp_path / "out")["points"][1]["became"] == "failed"
    assert "lr0 0.001 is not known: lr-0.001: the disk is gone; try it again with --resume" in report.verdict.reasons


def test_the_end_of_the_range_is_inconclusive_and_still_a_patch(tmp_path: Path) -> None:
    report = swept(tmp_path / "out", 1e-5, 1e-4, 1e-2)
    assert (report.exit_code, told(tmp_path / "out")["recommended"]) == (4, 0.01)
    assert any("widen the range with --to" in reason for reason in report.verdict.reasons)


def test_a_ranking_that_the_training_loss_contradicts_is_not_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_loss", lambda entry: float(entry.facts["lr"]))  # the lowest at the lowest rate
    report = swept(tmp_path / "out", 1e-4, 1e-2, 1e3)
    assert (report.exit_code, told(tmp_path / "out")["verdict"]) == (4, "found")
    assert any("the training loss is lowest at 0.0001" in reason for reason in report.verdict.reasons)


def test_a_loss_that_ran_away_too_quickly_for_the_guard_is_diverged(tmp_path: Path) -> None:
    swept(tmp_path / "out", 0.01, 10.0, epochs=2)
    point = told(tmp_path / "out")["points"][1]
    assert (point["became"], point["reason"].startswith("its training loss grew from")) == ("diverged", True)


def test_an_optimizer_that_chooses_its_own_rate_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="optimizer: auto ignores lr0"):
        swept(tmp_path / "out", 1e-4, 1e-2, train={"optimizer": "auto", "lr0": None})
    assert not (tmp_path / "out").exists()


def test_points_differ_in_nothing_but_the_rate() -> None:
    rule = {"metric": "gap", "above": 0.5, "lr": 0.1, "auto": True}
    wanted = profile(train={"patience": 1}, guard={"oom": "fail"}, rules=[rule])
    one, other = (v.profile for v in stage.variants(wanted, (1e-4, 1e-2), 3))
    for name in ("rules", "guard", "data", "model", "keep", "limits"):
        assert getattr(one, name) == getattr(other, name)
    assert one.train.model_copy(update={"lr0": None}) == other.train.model_copy(update={"lr0": None})
    assert (one.rules, one.train.patience, one.guard.oom, one.guard.nan, one.guard.collapse) == (
        (), 0, "fail", "fail", "fail",
    )  # fmt: skip


@pytest.mark.parametrize(("whole", "short"), [(100, 10), (20, 3), (2, 2), (60, 6)])
def test_a_point_is_a_tenth_of_the_training_unless_it_is_said(whole: int, short: int) -> None:
    assert stage.default_epochs(profile(train={"epochs": whole})) == short
