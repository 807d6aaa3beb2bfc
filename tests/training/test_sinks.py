"""Services that a training is told to: TensorBoard for real, and one that fails or hangs without harm to it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_training import profile

from deploytk.errors import MissingDependency
from deploytk.stages.train import train
from deploytk.training import events, sinks
from deploytk.training.state import Folder

Faults = Callable[[str], None]
pytestmark = pytest.mark.usefixtures("toy")


def records(path: Path) -> Iterator[bytes]:
    """The records of a TensorBoard file: length, its checksum, the record, its checksum."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """The curves that TensorBoard shows: files in the order of their names, each voiding what it begins anew."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    curves: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda p: p.name.rpartition(".")[2]):
        for record in records(path):
            told = Event.FromString(record)
            if told.session_log.status == SessionLog.START:
                curves = {tag: {s: v for s, v in c.items() if s < told.step} for tag, c in curves.items()}
            for value in told.summary.value:
                curves.setdefault(value.tag, {})[told.step] = value.simple_value
    return curves


def warnings(run: Path) -> list[str]:
    return [e["reason"] for e in events.read(Folder(run=run).events) if e["event"] == "warning"]


def test_tensorboard_shows_one_curve_without_what_was_rolled_back(toy: Faults, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    toy("nan@4")
    run = tmp_path / "run"
    train(profile(track={"tensorboard": True}), run)
    rows = {e["epoch"]: e for e in json.loads((Folder(run=run).checkpoints / "metadata.json").read_text())}
    curves = shown(run / "tensorboard")
    assert {"loss/loss", "metric/accuracy", "fitness", "lr"} <= set(curves)
    assert curves["fitness"] == pytest.approx({number: row["fitness"] for number, row in rows.items()})
    assert curves["lr"] == pytest.approx({number: row["facts"]["lr"] for number, row in rows.items()})
    assert warnings(run) == []


def test_what_was_trained_before_tensorboard_was_asked_for_is_in_its_curves_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    train(profile(train={"epochs": 3}), tmp_path / "run")
    train(profile(train={"epochs": 5}, track={"tensorboard": True}), tmp_path / "run", how="resume")
    assert sorted(shown(tmp_path / "run" / "tensorboard")["fitness"]) == [1, 2, 3, 4, 5]


class Broken:
    """A service that fails at the second epoch."""

    fresh = False

    def __init__(self, *_: Any) -> None:
        self.epochs = 0

    def epoch(self, *_: Any) -> None:
        self.epochs += 1
        if self.epochs == 2:
            raise ConnectionError("the server is gone\nand more")

    def cut(self, first: int) -> None:
        """Take note of nothing."""


class Hanging(Broken):
    """A service that never answers."""

    def epoch(self, *_: Any) -> None:
        import threading

        threading.Event().wait(60)


def this(monkeypatch: pytest.MonkeyPatch, sink: type) -> None:
    """Have `track.mlflow` open `sink`."""
    monkeypatch.setattr(f"{__name__}.Sink", sink, raising=False)
    monkeypatch.setitem(sinks._TABLE, "mlflow", ("json", __name__))


def test_a_service_that_fails_is_a_warning_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this(monkeypatch, Broken)
    report = train(profile(track={"mlflow": "http://x"}), tmp_path / "run")
    assert report.exit_code == 0
    why = "track.mlflow: nothing more is told there: ConnectionError: the server is gone"
    assert warnings(tmp_path / "run") == [why]


def test_a_service_that_hangs_does_not_make_the_training_look_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this(monkeypatch, Hanging)
    monkeypatch.setattr(sinks, "_PATIENCE_S", 0.1)
    report = train(profile(track={"mlflow": "http://x"}), tmp_path / "run")
    assert (report.exit_code, report.sections["train"]["attempts"]) == (0, 1)
    assert warnings(tmp_path / "run") == ["track.mlflow: still not done 0.1 s after the end: given up"]


def test_a_library_that_is_not_installed_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sinks._TABLE, "mlflow", ("mlflow_that_is_not_there", "none"))
    monkeypatch.setitem(sinks.plugins.EXTRAS, "mlflow_that_is_not_there", "mlflow")
    with pytest.raises(MissingDependency, match=r"track.mlflow: .* not installed; .*deploytk\[mlflow\]"):
        train(profile(track={"mlflow": "http://x"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mlflow_keeps_each_epoch_of_a_training_and_its_resume_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its small package has no database
    mlflow = pytest.importorskip("mlflow", reason="not run: mlflow is not installed")
    store = (tmp_path / "mlruns").as_uri()
    train(profile(train={"epochs": 3}, track={"mlflow": store}), tmp_path / "run")
    train(profile(train={"epochs": 5}, track={"mlflow": store}), tmp_path / "run", how="resume")
    client = mlflow.MlflowClient(tracking_uri=store)
    found = client.search_runs([client.get_experiment_by_name("deploytk").experiment_id])
    assert [run.info.run_name for run in found] == ["toy"]
    assert [m.step for m in client.get_metric_history(found[0].info.run_id, "fitness")] == [1, 2, 3, 4, 5]
    assert warnings(tmp_path / "run") == []
