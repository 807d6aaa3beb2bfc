"""Variants trained by one command: each for itself, one table, the same one however often it was cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from toy_training import profile

from deploytk import usage
from deploytk.errors import InputError, MissingDependency
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.report.content_matrix import matrix_block
from deploytk.stages import matrix as matrix_stage
from deploytk.stages.matrix import matrix
from deploytk.stages.matrix_axes import expanded

Faults = Callable[[str], None]
pytestmark = pytest.mark.usefixtures("toy")
AXES = ("level=2,4", "activation=relu,leaky")


def put(values: dict[str, Any], chosen: Mapping[Any, Any]) -> Profile:
    """The profile of the toy backend with `chosen` set."""
    told = profile(**values).model_dump(mode="json", by_alias=True)
    for loc, value in chosen.items():
        part = told
        for key in loc[:-1]:
            part = part[key]
        part[loc[-1]] = value
    return Profile.model_validate(told)


def trained(out: Path, *axes: str, jobs: int = 1, how: Any = "auto", **values: Any) -> Report:
    variants, findings = expanded(axes or AXES, lambda chosen: put(values, chosen))
    return matrix("toy-matrix", variants, out, jobs=jobs, how=how, findings=findings)


def results(report: Report) -> Any:
    """The first of the two tables: what came out."""
    return matrix_block(report)[0].tables[0]


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in json.loads((out / "matrix.json").read_text())["variants"]}


def test_each_variant_has_a_folder_and_a_row(tmp_path: Path) -> None:
    report = trained(tmp_path / "out")
    assert (report.exit_code, report.verdict.reasons) == (0, ("4 of 4 variants succeeded",))
    told = rows(tmp_path / "out")
    assert list(told) == [f"toy-level{level}-{kind}" for level in (2, 4) for kind in ("relu", "leaky")]
    for name, row in told.items():
        assert (row["status"], row["attempts"], row["segments"], row["rollbacks"], row["ooms"]) == ("done", 1, 1, 0, 0)
        assert (
            row["best_epoch"]
            == json.loads((tmp_path / "out" / name / "training_summary.json").read_text())["best_epoch"]
        )
        assert len(row["sha256"]) == len(row["weights_sha256"]) == 64
        assert [sorted(run) for run in row["runs"]] == [["began", "ended"]]
    for kind in ("json", "md", "html"):
        assert "toy-level4-leaky" in (tmp_path / "out" / f"report.{kind}").read_text()


def test_one_that_fails_never_stops_the_rest(toy: Faults, tmp_path: Path) -> None:
    toy("crash@3*")
    report = trained(tmp_path / "out", "train.epochs=2,3")
    assert (report.exit_code, report.verdict.status) == (7, "fail")
    assert report.verdict.reasons[0] == "1 of 2 variants succeeded (crash: 1)"
    assert "a fault of the library in epoch 3" in report.verdict.reasons[1]
    row = rows(tmp_path / "out")["toy-epochs-3"]
    assert (row["status"], row["ended_as"], row["exit_code"], row["epochs"]) == ("failed", "crash", 7, 2)
    assert "Traceback" in (tmp_path / "out" / "toy-epochs-3" / "errors" / "toy-epochs-3.log").read_text()
    assert "Failed: 1 x crash." in matrix_block(report)[0].lines


def test_what_deploytk_itself_does_wrong_in_one_is_recorded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(wanted: Profile, *_args: Any, **_more: Any) -> Report:
        raise RuntimeError(f"no {wanted.name}")

    monkeypatch.setattr("deploytk.stages.matrix.train", faulty)
    report = trained(tmp_path / "out")
    assert (report.exit_code, report.verdict.reasons[0]) == (1, "0 of 4 variants succeeded (fault: 4)")
    assert "a fault of deploytk: RuntimeError: no toy-level2-relu" in report.verdict.reasons[1]
    assert "Traceback" in (tmp_path / "out" / "toy-level2-relu" / "errors" / "toy-level2-relu.log").read_text()


def test_a_failed_one_is_gone_on_with_when_asked_and_the_others_are_left_alone(toy: Faults, tmp_path: Path) -> None:
    toy("crash@3*")
    trained(tmp_path / "out", "train.epochs=2,3")
    toy("")
    before = rows(tmp_path / "out")
    assert trained(tmp_path / "out", "train.epochs=2,3").exit_code == 7  # it stays failed until it is asked for
    assert trained(tmp_path / "out", "train.epochs=2,3", how="resume").exit_code == 0
    after = rows(tmp_path / "out")
    assert after["toy-epochs-2"]["runs"] == before["toy-epochs-2"]["runs"]
    assert after["toy-epochs-3"]["status"] == "done"


def test_more_values_train_what_is_new_and_more_epochs_all_of_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    trained(out, "activation=relu", train={"epochs": 2})
    before = rows(out)
    trained(out, "activation=relu,silu", train={"epochs": 2})
    assert rows(out)["toy-relu"] | {"reasons": []} == before["toy-relu"] | {"reasons": []} | {
        "weights_sha256": rows(out)["toy-relu"]["weights_sha256"]
    }
    trained(out, "activation=relu,silu", train={"epochs": 3}, how="resume")
    assert [(row["epochs"], len(row["runs"])) for row in rows(out).values()] == [(3, 2), (3, 2)]


def test_side_by_side_gives_the_same_models(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "one"), trained(tmp_path / "two", jobs=3)
    assert results(one) == results(two)


@pytest.mark.parametrize(("jobs", "own", "told"), [(1, None, None), (3, None, "2"), (9, None, "1"), (3, "5", "5")])
def test_side_by_side_they_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, jobs: int, own: str | None, told: str | None
) -> None:
    monkeypatch.setattr(usage, "cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    seen: list[str | None] = []
    variants, _ = expanded(AXES, lambda chosen: put({}, chosen))
    matrix_stage._side_by_side(variants * 3, lambda _: seen.append(os.environ.get("OMP_NUM_THREADS")), jobs)
    assert seen == [told] * 12
    assert os.environ.get("OMP_NUM_THREADS") == own


def test_faults_on_the_way_are_counted(toy: Faults, tmp_path: Path) -> None:
    toy("oom@2,nan@4")
    report = trained(tmp_path / "out", "activation=relu,silu")
    assert report.exit_code == 0
    for row in rows(tmp_path / "out").values():
        assert (row["attempts"], row["segments"], row["rollbacks"], row["ooms"]) == (3, 3, 1, 1)


def test_axes_that_the_training_does_not_heed_are_found_out(tmp_path: Path) -> None:
    report = trained(tmp_path / "out", "train.warmup_epochs=1,2")
    assert {(f.rule, f.where, f.message.split(":")[0]) for f in report.findings} == {
        ("CMP001", "toy-warmup_epochs-1 and toy-warmup_epochs-2", "identical metrics"),
        ("CMP001", "toy-warmup_epochs-1 and toy-warmup_epochs-2", "identical weights"),
    }


def test_what_is_wrong_with_one_is_told_before_any_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        trained(tmp_path / "out", f"data.path=null,{tmp_path / 'none'}")
    assert len(error.value.reasons) == 1
    assert error.value.reasons[0].startswith("toy-path-")
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_all_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise MissingDependency("no library")

    monkeypatch.setattr("deploytk.stages.matrix.preflight", missing)
    with pytest.raises(MissingDependency) as error:
        trained(tmp_path / "out")
    assert error.value.reasons == ("no library",)


def test_a_folder_with_other_trainings_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "out", "activation=relu,silu")
    with pytest.raises(InputError, match="other settings"):
        trained(tmp_path / "out", "activation=relu,silu", train={"lr0": 0.5})


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_record_that_cannot_be_written_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("deploytk.stages.matrix_record.Record.began", full)
    with pytest.raises(OSError, match="no space left"):
        trained(tmp_path / "out", jobs=jobs)


def test_a_damaged_record_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "matrix.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        trained(tmp_path / "out")


COMMAND = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {stages!r}]
from test_matrix_runs import trained
trained(Path({out!r}), jobs={jobs})
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_in_the_middle_it_goes_on_to_the_same_table(toy: Faults, tmp_path: Path, jobs: int) -> None:
    here = Path(__file__)
    out = tmp_path / "killed"
    toy("slow=0.05")
    code = COMMAND.format(tests=str(here.parents[1]), stages=str(here.parent), out=str(out), jobs=jobs)
    running = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        second = out / ("toy-level2-leaky" if jobs == 1 else "toy-level2-relu")
        while not (second / "training" / "checkpoints" / "epoch_0002.pt").exists():
            assert running.poll() is None
            time.sleep(0.01)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    cut_off = rows(out)
    assert "running" in {row["status"] for row in cut_off.values()}
    toy("")
    again, whole = trained(out, jobs=jobs), trained(tmp_path / "whole")
    assert results(again) == results(whole)
    told = rows(out)[second.name]
    assert (len(told["runs"]), told["runs"][0]["ended"], told["attempts"]) == (2, None, 2)
    if jobs == 1:
        assert rows(out)["toy-level2-relu"]["runs"] == cut_off["toy-level2-relu"]["runs"]
