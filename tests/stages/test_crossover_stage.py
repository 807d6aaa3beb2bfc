"""A crossover: better modules are found, taken only where they help, and judged on what chose none of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps_in_process import patched
from toy_training import profile

from deploytk.artifact import Artifact
from deploytk.errors import InputError
from deploytk.files import sha256_of, write_json
from deploytk.report import Report
from deploytk.report.content_search import crossover_block
from deploytk.stages import crossover as stage
from deploytk.stages.run_folder import RunFolder, opened
from deploytk.stages.train import train
from deploytk.training.shelf import Shelf, entries_in
from deploytk.training.state import Folder

Faults = Callable[[str], None]
#: The numbers of the classifier that tells the drawn points apart, and each with one of them wrong.
GOOD = (1.2, -0.8, 0.0)
NEAR_WRONG, FAR_WRONG = (-1.2, -0.8, 0.0), (1.2, 1.8, 0.0)


@pytest.fixture(autouse=True)
def steps(toy: Faults, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    toy("")
    return patched(monkeypatch)


def trained(out: Path, weights: Sequence[Sequence[float]] = (), **sections: Any) -> Path:
    """A run of the toy backend, the checkpoints of its last epochs replaced by `weights`."""
    from toy_backend import network

    wanted = profile(train={"epochs": 4}, keep={"at_most": 9}, **sections)
    train(wanted, out)
    for epoch, weight in enumerate(weights, start=5 - len(weights)):
        path = Folder(run=out).checkpoints / f"epoch_{epoch:04d}.pt"
        network.write(path, {"weight": np.array(weight), "velocity": np.zeros(3)})
    return out


def found(out: Path) -> dict[str, Any]:
    return json.loads((out / "crossover" / "crossover.json").read_text())


def rows(report: Report) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report.sections["crossover"]["models"]}


def test_a_module_of_another_epoch_that_helps_is_taken_and_the_model_written(tmp_path: Path, steps: list[str]) -> None:
    run = trained(tmp_path / "run", [NEAR_WRONG, NEAR_WRONG, FAR_WRONG, NEAR_WRONG])
    before = sha256_of(run / "model.pt")
    steps.clear()
    report = stage.crossover(run)
    assert (report.exit_code, report.verdict.status) == (0, "pass")
    told = found(run)
    assert (told["gained"], set(told["origin"].values())) == (True, {told["home"], *told["picks"]} & {1, 2, 3, 4})
    assert told["score"] > told["start"] + 0.001
    crossed = rows(report)["crossover"]
    assert crossed["change"] > 0
    assert crossed["choosing"] == pytest.approx(told["score"])
    assert sha256_of(run / "model.pt") == before
    made = opened(run / "crossover")
    assert (made.profile().name, Artifact.load(made.model).settings["origin"]) == ("toy-crossover", told["origin"])
    assert Artifact.load(made.model).made_from == (Artifact.load(run / "model.pt").sha256,)
    assert steps == ["crossover_searched", "crossover_judged"]


def test_the_written_model_has_the_modules_that_the_record_says(tmp_path: Path) -> None:
    from toy_backend import network

    run = trained(tmp_path / "run", [NEAR_WRONG, NEAR_WRONG, FAR_WRONG, NEAR_WRONG])
    stage.crossover(run)
    origin, folder = found(run)["origin"], Folder(run=run).checkpoints
    made = network.checkpoint_tensors(run / "crossover" / "model.pt")["weight"]
    for index, module in enumerate(("near", "far", "bias")):
        source = network.checkpoint_tensors(folder / f"epoch_{origin[module]:04d}.pt")["weight"]
        assert made[index] == source[index]


def test_where_nothing_helps_it_says_so_and_writes_no_model(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", [GOOD] * 4)
    (run / "crossover" / "logs").mkdir(parents=True)
    (run / "crossover" / "logs" / "crossover_searched.task.json").touch()
    (run / "crossover" / "model.pt").write_bytes(b"of an earlier crossover")
    report = stage.crossover(run)
    assert (report.exit_code, report.artifact) == (0, None)
    assert report.verdict.reasons == (f"nothing gained: {run / 'model.pt'} stays the best; no model was written",)
    assert not (run / "crossover" / "model.pt").exists()
    assert not (run / "crossover" / "profile.json").exists()
    assert [s["flat"] for s in found(run)["spots"]] == [True] * 3
    assert list(rows(report)) == ["model.pt"]  # the very same weights are shown once
    assert "greedy soup" in rows(report)["model.pt"]["also"]
    for name in ("sweetspots.json", "sweetspots.txt", "sweetspots.png", "report.html"):
        assert (run / "crossover" / name).is_file()


def test_choosing_never_looks_at_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_backend.evaluating import ToyEvaluator

    asked: list[str] = []
    real, run = ToyEvaluator.score, trained(tmp_path / "run", [NEAR_WRONG, NEAR_WRONG, FAR_WRONG, NEAR_WRONG])

    def score(self: ToyEvaluator, weights: dict[str, np.ndarray], part: str) -> float:
        asked.append(part)
        return real(self, weights, part)

    monkeypatch.setattr(ToyEvaluator, "score", score)
    report = stage.crossover(run)
    first, shown = asked.index("held_out"), len(rows(report))
    assert set(asked[: first - 1]) == {"choosing"}
    assert asked[first - 1 :] == ["choosing", "held_out"] * shown
    assert found(run)["scored"] == first - 1


def test_a_gain_that_does_not_hold_on_the_held_out_part_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_backend.evaluating import ToyEvaluator

    real, run = ToyEvaluator.score, trained(tmp_path / "run", [NEAR_WRONG, NEAR_WRONG, FAR_WRONG, NEAR_WRONG])
    monkeypatch.setattr(
        ToyEvaluator, "score", lambda self, weights, part: real(self, weights, part) if part == "choosing" else 0.5
    )
    report = stage.crossover(run)
    assert (report.exit_code, report.verdict.status) == (4, "inconclusive")
    assert "the gain did not hold" in report.verdict.reasons[0]
    assert (run / "crossover" / "model.pt").is_file()


def test_what_batch_norm_settled_anew_gives_alone_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_backend.evaluating import ToyEvaluator

    def settled(_self: ToyEvaluator, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.array([value]) for name, value in zip(weights, GOOD, strict=True)}

    monkeypatch.setattr(ToyEvaluator, "settled", settled)
    run = trained(tmp_path / "run", [NEAR_WRONG] * 4)
    report = stage.crossover(run)
    told = found(run)
    assert (told["over"], told["swapped"], told["reference"] > told["scores"]["4"]) == ("settled", False, True)
    row = rows(report)["the same, batch norm anew"]
    assert (row["also"][-1], row["change"] > 0) == ("crossover", True)
    assert report.verdict.reasons[0].startswith("no swap helped; batch norm settled anew alone, in epoch 4: +0.")
    assert (run / "crossover" / "model.pt").is_file()  # it is better, and called what it is


def test_the_epochs_of_sweet_spots_are_never_rotated_away(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", [NEAR_WRONG, FAR_WRONG, NEAR_WRONG, NEAR_WRONG])
    stage.crossover(run)
    picks, folder = found(run)["picks"], Folder(run=run).checkpoints
    assert {e.epoch for e in entries_in(folder) if e.pick == stage.PICK} == set(picks)
    shelf = Shelf(folder, profile(keep={"at_most": 1}).keep)
    shelf.pick((), "another")  # rotates, with a policy that keeps next to nothing
    assert {e.epoch for e in shelf.entries if e.file} >= set(picks)


def test_other_modules_can_be_named(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    stage.crossover(run, modules={"both": ["near", "far"]})
    assert (found(run)["modules"], [s["module"] for s in found(run)["spots"]]) == ({"both": 2}, ["both"])
    with pytest.raises(InputError, match="head: no tensor is called head"):
        stage.crossover(run, modules={"head": ["head"]})


def test_a_training_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run folder"):
        stage.crossover(tmp_path / "none")
    run = trained(tmp_path / "run")
    state = json.loads((run / "training" / "state.json").read_text())
    write_json(run / "training" / "state.json", {**state, "status": "running", "reason": "more epochs"})
    with pytest.raises(InputError, match=r"not finished \(running: more epochs\); go on with: deploytk train"):
        stage.crossover(run)
    (run / "model.pt").unlink()
    with pytest.raises(InputError, match="training has not finished here"):
        stage.crossover(run)


def test_one_checkpoint_is_not_enough_and_the_profile_key_is_named(tmp_path: Path) -> None:
    train(profile(train={"epochs": 1}), tmp_path / "run")
    with pytest.raises(InputError, match=r"1 checkpoint is kept, .* keep: \{every: 1, at_most: 20\}"):
        stage.crossover(tmp_path / "run")


def test_a_missing_or_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    path = Folder(run=run).checkpoints / "epoch_0002.pt"
    path.write_bytes(b"half of a checkpoint")
    with pytest.raises(InputError, match=r"epoch_0002\.pt: damaged checkpoint"):
        stage.crossover(run)
    path.unlink()
    with pytest.raises(InputError, match=r"epoch_0002\.pt: the checkpoint of epoch 2 is missing; put it back"):
        stage.crossover(run)


def test_the_result_goes_where_no_training_stands(tmp_path: Path) -> None:
    run, other = trained(tmp_path / "run"), trained(tmp_path / "other")
    for place in (run, other):
        with pytest.raises(InputError, match="a training stands here"):
            stage.crossover(run, place)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.pt").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"model\.pt is not of a crossover"):
        stage.crossover(run, tmp_path / "mine")
    stage.crossover(run, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "crossover.json").is_file()
    assert not (run / "crossover").exists()


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    with RunFolder(run).alone(), pytest.raises(InputError, match="another deploytk is at work here"):
        stage.crossover(run)


def test_the_report_has_the_three_tables(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", [NEAR_WRONG, NEAR_WRONG, FAR_WRONG, NEAR_WRONG])
    (block,) = crossover_block(stage.crossover(run))
    assert [t.title for t in block.tables] == [
        "Side by side", "Sweet spots, on the choosing part", "Swaps tried, in this order",
    ]  # fmt: skip
    assert block.lines[0] == "48 images to choose by, 48 held out: drawn points."
    names = ", ".join(row[0].text for row in block.tables[0].rows)
    for name in (
        "model.pt",
        "last epoch",
        "moving average (EMA)",
        "plain mean of the best 4",
        "greedy soup",
        "crossover",
    ):
        assert name in names


def test_a_backend_that_cannot_score_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_backend

    run = trained(tmp_path / "run")
    monkeypatch.delitem(toy_backend._FUNCTIONS, "evaluator")
    monkeypatch.delattr(toy_backend, "evaluator", raising=False)
    with pytest.raises(InputError, match="the backend toy has no evaluator"):
        stage.crossover(run)
