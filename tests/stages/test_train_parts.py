"""Two models trained in turns: cycles, one state, a resume after any stop, and one part that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploytk import profile_loading
from deploytk.errors import InputError, ProfileError, TrainingFailed
from deploytk.profile import Profile
from deploytk.stages import run_folder, train_parts
from deploytk.stages.train import train as train_one
from deploytk.training import state as states
from deploytk.training.state import Folder

Faults = Callable[[str], None]
TRAIN = {"epochs": 6, "imgsz": 64, "batch": 16, "lr0": 0.005, "device": "cpu", "patience": 0}


def profile(detector: dict[str, Any] | None = None, classifier: dict[str, Any] | None = None) -> Profile:
    parts = {
        "detector": {"backend": "toy", "cycle": 2, **(detector or {})},
        "classifier": {"backend": "toy", "cycle": 3, "train": {"lr0": 0.002, "epochs": 5}, **(classifier or {})},
    }
    return Profile.model_validate({"name": "two", "backend": "two-stage", "train": TRAIN, "parts": parts})


def turns(run: Path) -> list[tuple[str, int, int]]:
    """(part, first epoch, last epoch) of each segment, in the order in which they were begun."""
    steps = [
        (step.began or 0.0, name, step.segment.first_epoch, step.segment.last_epoch)
        for name in ("detector", "classifier")
        for step in (states.read(Folder(run=run / name)) or pytest.fail(name)).steps
    ]
    return [(name, first, last) for _, name, first, last in sorted(steps)]


def test_a_part_takes_from_the_profile_what_it_does_not_say() -> None:
    found = profile()
    assert [found.part(n).train.lr0 for n in ("detector", "classifier")] == [0.005, 0.002]
    assert [found.part(n).train.epochs for n in ("detector", "classifier")] == [6, 5]
    assert found.part("classifier").train.device == "cpu"
    # Kept in a run folder and read again it is the same, though all of it is written out there.
    assert Profile.model_validate(json.loads(found.model_dump_json(by_alias=True))) == found


def test_the_command_line_reaches_both_parts_and_wrong_keys_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    text = """schema: 1
name: two
backend: two-stage
parts:
  detector: {backend: ultralytics, data: {path: d.yaml}, train: {epochs: 9}}
  classifier:
    backend: classifier
    data: {path: c}
"""
    file.write_text(text)
    found = profile_loading.load(str(file), {("train", "epochs"): 3})
    assert [found.part(n).train.epochs for n in ("detector", "classifier")] == [3, 3]
    assert found.part("detector").data.path == tmp_path / "d.yaml"
    file.write_text(text + "    trian: {epochs: 3}\n")
    with pytest.raises(ProfileError, match=r"two.yaml:9: parts.classifier: unknown key 'trian'; did you mean 'train'"):
        profile_loading.load(str(file))
    file.write_text("schema: 1\nname: two\nbackend: two-stage\n")
    with pytest.raises(ProfileError, match="go together"):
        profile_loading.load(str(file))


@pytest.mark.usefixtures("toy")
def test_the_parts_take_turns_and_both_come_to_their_end(tmp_path: Path) -> None:
    report = train_parts.train(profile(), tmp_path)
    assert turns(tmp_path) == [
        ("detector", 1, 2), ("classifier", 1, 3), ("detector", 3, 4), ("classifier", 4, 5), ("detector", 5, 6)
    ]  # fmt: skip
    told = json.loads((tmp_path / train_parts.STATE).read_text())["parts"]
    assert {name: (row["epochs"], row["status"]) for name, row in told.items()} == {
        "detector": (6, "done"),
        "classifier": (5, "done"),
    }
    assert [row["part"] for row in report.sections["parts"]] == ["detector", "classifier"]
    assert [a.path for a in report.chain] == [tmp_path / n / "model.pt" for n in ("detector", "classifier")]
    # In turns or in one go: the weights are the same.
    alone = train_one(profile().part("detector"), tmp_path / "alone")
    assert alone.artifact is not None
    assert alone.artifact.sha256 == report.chain[0].sha256
    with pytest.raises(InputError, match=r"a pipeline of two models; name one: .*detector or .*classifier"):
        run_folder.opened(tmp_path)


def test_a_stop_is_gone_on_from_and_a_longer_training_too(tmp_path: Path, toy: Faults) -> None:
    def stopped(name: str) -> Any:
        if name == "classifier":
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        train_parts.train(profile(), tmp_path, stopped)
    toy("")
    train_parts.train(profile(), tmp_path)
    assert turns(tmp_path)[:3] == [("detector", 1, 2), ("classifier", 1, 3), ("detector", 3, 4)]
    longer = profile(detector={"train": {"epochs": 8}})
    with pytest.raises(InputError, match=r"train.epochs: 6 -> 8.*--resume"):
        train_parts.train(longer, tmp_path)
    train_parts.train(longer, tmp_path, how="resume")
    assert turns(tmp_path)[5:] == [("detector", 7, 8)]


def test_where_one_part_fails_the_other_comes_to_its_end(tmp_path: Path, toy: Faults) -> None:
    toy("nan@2")
    hopeless = profile(detector={"guard": {"nan": "fail"}})  # the classifier's guard rolls back
    with pytest.raises(TrainingFailed, match=r"(?s)detector: .*classifier: trained"):
        train_parts.train(hopeless, tmp_path)
    assert (tmp_path / "classifier" / "model.pt").is_file()
    assert not (tmp_path / "detector" / "model.pt").exists()
