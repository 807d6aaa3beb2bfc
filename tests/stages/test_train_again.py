"""Training where something stands already: gone on with, skipped, refused, resumed to more epochs, or begun anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_training import profile

from deploytk.errors import InputError, MissingDependency, TrainingFailed
from deploytk.report import Finding
from deploytk.stages.train import train
from deploytk.training import state as states
from deploytk.training.events import read
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder

Faults = Callable[[str], None]


def files(run: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def epochs(run: Path) -> list[int]:
    return [e.epoch for e in Shelf(Folder(run=run).checkpoints, profile().keep).entries]


def refused(run: Path, match: str, how: Any = "auto", **sections: Any) -> None:
    """A training is refused, and nothing is touched."""
    before = files(run)
    with pytest.raises(InputError, match=match):
        train(profile(**sections), run, how=how)
    assert files(run) == before


@pytest.mark.usefixtures("toy")
def test_a_finished_training_is_skipped_and_says_so(tmp_path: Path) -> None:
    made = train(profile(), tmp_path / "run")
    again = train(profile(), tmp_path / "run")
    assert (made.sections["skipped"], again.sections["skipped"]) == ({"train": False}, {"train": True})
    assert "unchanged, not trained again" in again.verdict.reasons[0]
    assert again.artifact == made.artifact
    # Neither how it is guarded nor how fast data is read shapes the weights.
    other = profile(guard={"max_rollbacks": 1}, limits={"load_s": 5}, keep={"at_most": 2}, train={"workers": 0})
    assert train(other, tmp_path / "run").sections["skipped"] == {"train": True}


@pytest.mark.usefixtures("toy")
def test_other_settings_are_named_with_both_ways_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    refused(run, r"train\.lr0: 0\.005 -> 0\.01.*another --out.*--restart", train={"lr0": 0.01})
    refused(run, r"train\.lr0: 0\.005 -> 0\.01", how="resume", train={"lr0": 0.01})
    refused(run, r"rules: .*--restart", rules=[{"metric": "accuracy", "above": 0.5, "lr": 0.5, "auto": True}])
    refused(run, r"train\.epochs: 6 -> 9.*--resume", train={"epochs": 9})
    refused(run, r"6 epochs stand here, more than --epochs 3", how="resume", train={"epochs": 3})


@pytest.mark.usefixtures("toy")
def test_other_data_is_another_training(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data.txt"
    data.write_text("one")
    train(profile(data={"path": data}), run)
    data.write_text("two")
    refused(run, "data: ", data={"path": data})


@pytest.mark.usefixtures("toy")
def test_other_libraries_are_gone_on_with_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    monkeypatch.setattr("deploytk.stages.train_settings.versions_of", lambda *_names: {"numpy": "99"})
    refused(run, r"other libraries \(.*versions\.numpy: .* -> 99.*--resume")
    assert train(profile(train={"epochs": 7}), run, how="resume").verdict.status == "pass"


def test_an_unfinished_training_goes_on_and_says_from_where(toy: Faults, tmp_path: Path) -> None:
    toy("crash@4*")
    run = tmp_path / "run"
    with pytest.raises(Exception, match="training failed"):
        train(profile(), run)
    toy("")
    # As it stands where deploytk itself was killed in the middle of the segment.
    told = json.loads(Folder(run=run).state.read_text())
    told["steps"][-1]["outcome"] = None
    Folder(run=run).state.write_text(json.dumps({**told, "status": "running"}))
    report = train(profile(), run)
    assert "resumed at epoch 4" in report.verdict.reasons[-1]
    assert epochs(run) == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("toy")
def test_a_finished_training_is_resumed_to_more_epochs_in_one_curve(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    report = train(profile(train={"epochs": 9}), run, how="resume")
    assert "resumed at epoch 7: 9 epochs" in report.verdict.reasons[-1]
    assert [row["epoch"] for row in report.sections["train"]["epochs"]] == list(range(1, 10))
    assert [row["epochs"] for row in report.sections["train"]["timeline"]] == ["1..6", "7..9"]
    state = states.read(Folder(run=run))
    assert state is not None
    assert state.steps[-1].segment.total_epochs == 9  # the learning rate's curve is that of the new whole
    assert train(profile(train={"epochs": 9}), run).sections["skipped"] == {"train": True}


def test_the_model_asked_for_stands_also_where_going_beyond_it_has_failed(toy: Faults, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    toy("nan@8*")
    with pytest.raises(TrainingFailed):
        train(profile(train={"epochs": 9}), run, how="resume")
    assert train(profile(), run).sections["skipped"] == {"train": True}


@pytest.mark.usefixtures("toy")
def test_one_that_was_stopped_early_goes_on_with_more_patience_and_not_without(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(train={"epochs": 40, "patience": 3}), run)
    stopped = epochs(run)[-1]
    assert stopped < 40
    same = train(profile(train={"epochs": 40, "patience": 3}), run, how="resume")
    assert same.sections["skipped"] == {"train": True}
    train(profile(train={"epochs": 40, "patience": 10}), run, how="resume")
    assert epochs(run)[-1] > stopped


@pytest.mark.usefixtures("toy")
def test_another_device_is_gone_on_with_only_when_asked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    refused(run, r"train\.device: cpu -> 1", train={"device": "1"})
    assert train(profile(train={"device": "1", "epochs": 7}), run, how="resume").verdict.status == "pass"


@pytest.mark.usefixtures("toy")
def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training to resume here"):
        train(profile(), tmp_path / "run", how="resume")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("toy")
def test_restart_removes_the_old_training_and_only_that(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    (run / "export").mkdir()
    (run / "export" / "kept").write_text("not ours")
    report = train(profile(train={"epochs": 2}), run, how="restart")
    assert "trained: 2 epochs" in report.verdict.reasons[-1]
    assert epochs(run) == [1, 2]
    assert (run / "export" / "kept").is_file()


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("rule", "error"), [("PRE004", InputError), ("PRE001", MissingDependency)])
def test_restart_removes_nothing_where_the_preflight_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, error: type[Exception]
) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    before = files(run)
    said = [Finding(rule=rule, severity="error", where="data", message="no such file")]
    monkeypatch.setattr("toy_backend.checks.preflight", lambda _profile: said)
    with pytest.raises(error, match="no such file"):
        train(profile(train={"lr0": 0.1}), run, how="restart")
    assert files(run) == before


@pytest.mark.usefixtures("toy")
def test_what_the_preflight_warns_of_is_said_before_the_training_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Finding(rule="DAT007", severity="warning", where="labels/a.txt:2", message="the same box twice")]
    monkeypatch.setattr("toy_backend.checks.preflight", lambda _profile: said)
    report = train(profile(), tmp_path / "run")
    train(profile(train={"epochs": 7}), tmp_path / "run", how="resume")
    told = list(read(Folder(run=tmp_path / "run").events))
    assert [e["event"] for e in told].index("warning") < [e["event"] for e in told].index("segment")
    assert [e["reason"] for e in told if e["event"] == "warning"] == ["labels/a.txt:2: the same box twice"]
    assert [f.rule for f in report.findings] == ["DAT007"]


@pytest.mark.usefixtures("toy")
def test_a_model_without_a_training_beside_it_is_not_overwritten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.pt").write_bytes(b"somebody's")
    refused(run, "a model of which deploytk has no training")
    assert train(profile(), run, how="restart").verdict.status == "pass"


@pytest.mark.usefixtures("toy")
def test_a_lost_or_changed_model_is_made_again_from_the_checkpoints(tmp_path: Path) -> None:
    run = tmp_path / "run"
    made = train(profile(), run)
    (run / "model.pt").write_bytes(b"changed")
    again = train(profile(), run)
    assert again.artifact == made.artifact
    assert len(json.loads((run / "training_summary.json").read_text())["timeline"]) == 1


@pytest.mark.usefixtures("toy")
def test_settings_that_are_gone_or_damaged_are_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    (run / "model.pt").unlink()
    settings = Folder(run=run).path / "settings.json"
    settings.write_text("{")
    refused(run, r"settings\.json: damaged")
    settings.unlink()
    refused(run, r"without its settings\.json")
