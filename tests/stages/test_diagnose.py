"""`diagnose` as a report: verdict and exit code, the word, evidence, causes whose patches train, notes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk import profile_loading
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.profile_training import Train
from deploytk.report import Report, render
from deploytk.stages.diagnose import diagnose
from deploytk.stages.run_folder import RunFolder
from deploytk.training.events import Events
from deploytk.training.segments import Outcome, first
from deploytk.training.state import Folder, State

HEADER = "epoch,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0\n"
FELL = [0.2, 0.45, 0.6, 0.7, 0.75, 0.78, 0.79, 0.3, 0.01, 0.01, 0.01]
ROSE = [0.1, 0.3, 0.5, 0.6, 0.65, 0.66, 0.66, 0.66, 0.66]


FILES = [
    *("results.csv", "args.yaml", "hyp.yaml", "profile.json", "trainer_state.json"),
    *("training/events.jsonl", "training/state.json", "train.log"),
]
#: What each of them may hold, right and half right.
PIECES = [
    HEADER.encode(),
    HEADER.encode() + b"1,nan,0.9,1,inf,1\n2,nan,0.9,1,inf,1\n3,nan,0,1,inf,1\n4,1,0,1,1,1\n",
    b"optimizer: AdamW\nlr0: 0.01\nbatch: 1\nimgsz: 1536\npatience: 1\ndata: /nowhere\n",
    b"optimizer: [1]\nlr0: .nan\nbatch: -.inf\nepochs: 1e99\n? [a]\n: b\n",
    b'{"name": "x", "train": {"lr0": 1e400, "epochs": [], "clip_norm": null}, "data": {"path": 3}}',
    b'{"log_history": [{"loss": NaN, "step": 1}, {"eval_loss": Infinity, "step": "2"}, 7, {"step": [',
    b'{"event": "epoch", "epoch": 1, "losses": {"a": null}, "metrics": [], "fitness": 0.5}\n{"event": []}\n',
    b'{"event": "trouble", "epoch": NaN}\n{"event": "epoch", "epoch": 1e999}\n{"event": "outcome"}\n',
    b'{"key": "k", "status": "failed", "reason": "because", "steps": []}',
    b"0",
    b"Traceback (most recent call last):\nValueError: x\n",
]


def table(metric: list[float]) -> str:
    return HEADER + "".join(f"{i},{1 / i:.3g},{v},1,{1 / i:.3g},0.01\n" for i, v in enumerate(metric, start=1))


def foreign(folder: Path, metric: list[float], **args: Any) -> Path:
    (folder / "results.csv").write_text(table(metric))
    (folder / "args.yaml").write_text(yaml.safe_dump(args))
    return folder / "results.csv"


def section(report: Report) -> dict[str, Any]:
    told: dict[str, Any] = report.sections["diagnosis"]
    return told


@pytest.mark.parametrize(
    ("metric", "word", "verdict", "code"),
    [
        (ROSE, "healthy", "pass", 0),
        (ROSE[:4], "early_stop", "inconclusive", 4),
        (FELL, "collapsed", "fail", 7),
        ([], "failed", "fail", 7),
    ],
)
def test_each_word_has_its_verdict_and_exit_code(
    tmp_path: Path, metric: list[float], word: str, verdict: str, code: int
) -> None:
    report = diagnose(foreign(tmp_path, metric))
    told = report.as_dict()
    assert (told["sections"]["diagnosis"]["verdict"], told["verdict"], told["exit_code"]) == (word, verdict, code)
    assert told["reasons"][0].startswith(f"{word}: ")


def test_a_healthy_training_has_no_findings_and_nothing_to_try(tmp_path: Path) -> None:
    report = diagnose(foreign(tmp_path, ROSE, optimizer="AdamW", lr0=0.01), patch=tmp_path / "next.yaml")
    assert report.findings == () and section(report)["written"] is None
    assert not (tmp_path / "next.yaml").exists()


def test_the_profile_of_a_foreign_log_holds_what_is_known_and_the_change(tmp_path: Path) -> None:
    told = {"optimizer": "AdamW", "lr0": 0.01, "imgsz": 150, "batch": -1, "epochs": 50, "data": "gone.yaml", "nbs": 64}
    report = diagnose(foreign(tmp_path, FELL, **told), patch=tmp_path / "next.yaml")
    assert section(report)["written"] == str(tmp_path / "next.yaml")
    train = profile_loading.load(str(tmp_path / "next.yaml")).train
    assert (train.optimizer, train.lr0, train.imgsz, train.epochs) == ("AdamW", 0.001, 160, 50)
    assert (train.batch, train.effective_batch) == (Train().batch, 64)  # -1 is no batch


def run_of(folder: Path, metric: list[float], **train: Any) -> Path:
    """A run of deploytk whose segments told these epochs."""
    profile = Profile(name="mine", train=Train(**train))
    folder.mkdir(exist_ok=True)
    RunFolder(folder).save_profile(profile)
    events = Events(Folder(run=folder).events)
    for epoch, value in enumerate(metric, start=1):
        events.tell("epoch", epoch=epoch, losses={"loss": 1 / epoch}, metrics={"top1": value}, fitness=value, lr=0.01)
    return folder


def test_every_patch_of_a_run_extends_its_profile(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", FELL, optimizer="AdamW", lr0=0.01, batch=1, epochs=20)
    report = diagnose(run, patch=tmp_path / "next.yaml")
    assert section(report)["verdict"] == "collapsed"
    first = section(report)["evidence"][0]
    assert first == {"where": "training/events.jsonl:7", "text": "epoch 7: top1 0.79 (the best)"}
    written = (tmp_path / "next.yaml").read_text()
    assert "extends: run/profile.json" in written
    loaded = profile_loading.load(str(tmp_path / "next.yaml"))
    assert (loaded.name, loaded.train.lr0, loaded.train.batch, loaded.train.epochs) == ("mine-next", 0.001, 1, 20)
    codes = [cause["code"] for cause in section(report)["causes"]]
    assert codes[:2] == ["DIA001", "DIA004"]
    for cause in section(report)["causes"]:
        patch = {"extends": str(run / "profile.json"), "name": "x", **yaml.safe_load(cause["patch"] or "{}")}
        (tmp_path / "each.yaml").write_text(yaml.safe_dump(patch))
        assert profile_loading.load(str(tmp_path / "each.yaml")).name == "x"


def test_the_patch_beside_the_profile_extends_it_too(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", FELL, optimizer="AdamW", lr0=0.01)
    diagnose(run, patch=run / "next.yaml")
    assert profile_loading.load(str(run / "next.yaml")).train.lr0 == 0.001


def ended(run: Path, status: str, **outcome: Any) -> None:
    segment = first(RunFolder(run).profile())
    state = State(key="k", status="running").with_segment(segment).with_outcome(Outcome(**outcome), 1.0)
    State(key="k", status=status, reason=str(outcome["reason"]), steps=state.steps).write(Folder(run=run))  # type: ignore[arg-type]


def test_a_run_that_gave_up_after_rollbacks_collapsed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", ROSE)
    Events(Folder(run=run).events).tell("trouble", kind="nan", epoch=10, reason="loss is nan", evidence=[])
    ended(run, "failed", ended="nan", reached=9, reason="3 rollbacks did not help")
    report = diagnose(run)
    assert report.verdict.reasons[0] == "collapsed: 3 rollbacks did not help"
    assert section(report)["evidence"][0]["where"] == "training/events.jsonl:10"
    assert report.exit_code == 7


def test_a_run_that_failed_for_another_reason_failed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", ROSE)
    Events(Folder(run=run).events).tell("trouble", kind="nan", epoch=3, reason="loss is nan", evidence=[])
    ended(run, "failed", ended="oom", reached=9, reason="the disk is full")
    assert diagnose(run).verdict.reasons[0] == "failed: the disk is full"


def test_a_run_that_went_back_and_then_on_is_transient(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", ROSE)
    Events(Folder(run=run).events).tell("trouble", kind="nan", epoch=3, reason="loss is nan", evidence=[])
    ended(run, "done", ended="done", reached=9, reason="trained to epoch 9")
    report = diagnose(run)
    assert section(report)["verdict"] == "healthy_transient" and report.exit_code == 0


def test_an_epoch_trained_again_counts_as_it_was_trained_in_the_end(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [*ROSE[:5], 0.01, 0.01])
    events = Events(Folder(run=run).events)
    for epoch, value in enumerate(ROSE[4:], start=5):
        events.tell("epoch", epoch=epoch, losses={"loss": 0.1}, metrics={"top1": value}, fitness=value)
    assert section(diagnose(run))["verdict"] == "healthy"


def test_a_folder_where_nothing_was_trained_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path).save_profile(Profile(name="mine"))
    with pytest.raises(InputError, match="no training was begun here"):
        diagnose(tmp_path)


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[Path]:
    """A set whose stems are 1 px wide at 64 px, one label line of it written twice."""
    from PIL import Image

    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (128, 64)).save(tmp_path / "images" / split / f"{i}.jpg")
            lines = ["0 0.5 0.5 0.5 0.8", "1 0.5 0.5 0.015 0.5", "1 0.5 0.5 0.015 0.5"]
            (tmp_path / "labels" / split / f"{i}.txt").write_text("\n".join(lines))
    told = {"train": "images/train", "val": "images/val", "names": ["head", "stem"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(told))
    yield tmp_path / "data.yaml"


def test_the_data_is_looked_at_where_it_is_given(tmp_path: Path, labelled: Path) -> None:
    report = diagnose(foreign(tmp_path, FELL, imgsz=64), data=labelled)
    told = {cause["code"]: cause for cause in section(report)["causes"]}
    assert "1 of 2 classes; stem is 0.96 px wide at 64" in told["DIA011"]["found"]
    assert yaml.safe_load(told["DIA011"]["patch"])["train"]["imgsz"] > 500
    assert "3 repeated label lines" in told["DIA009"]["found"]


def test_the_runs_own_data_is_looked_at_and_a_broken_one_is_a_note(tmp_path: Path, labelled: Path) -> None:
    path = foreign(tmp_path, FELL, imgsz=64, data=str(labelled))
    assert "DIA011" in [cause["code"] for cause in section(diagnose(path))["causes"]]
    labelled.write_text("names: [a]\n")
    assert any("the dataset cannot be read" in note for note in section(diagnose(path))["notes"])
    with pytest.raises(InputError):
        diagnose(path, data=labelled)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(FILES), st.one_of(st.binary(max_size=80), st.sampled_from(PIECES)), max_size=5))
def test_any_folder_is_refused_or_diagnosed(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("any", numbered=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    try:
        report = diagnose(folder, patch=folder / "out" / "next.yaml")
    except InputError as error:
        assert str(folder) in error.message
    else:
        assert report.verdict.reasons and json.dumps(report.as_dict(), default=str)


def test_the_report_is_written_in_every_form_and_as_json(tmp_path: Path) -> None:
    report = diagnose(foreign(tmp_path, [*FELL, float("nan")], optimizer="AdamW", lr0=0.01))
    paths = render.write(report, tmp_path / "out")
    assert json.loads(paths["json"].read_text())["sections"]["diagnosis"]["verdict"] == "collapsed"
    for kind in ("md", "html"):
        shown = paths[kind].read_text()
        assert "How the training went" in shown and "results.csv:8" in shown and "DIA001" in shown
