"""The loop over segments: each ending leads to the right next one, and a kill at any write loses nothing."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_training import profile

from deploytk.errors import InputError, RuleFailed
from deploytk.profile import Profile
from deploytk.training import state as states
from deploytk.training import timeline
from deploytk.training.events import Events, read
from deploytk.training.segments import Outcome, Segment, as_dict, outcome_from
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder, State
from deploytk.training.supervisor import Hopeless, Job, supervise

Faults = Callable[[str], None]


def job(wanted: Profile, run: Path, launch: Any = None) -> Job:
    """A training whose segments run in this very process, unless `launch` says otherwise."""

    def here(segment: Segment, _number: int) -> Outcome:
        from toy_backend.training import train_segment

        return outcome_from(train_segment(wanted.model_dump(mode="json", by_alias=True), str(run), as_dict(segment)))

    folder = Folder(run=run)
    return Job(profile=wanted, folder=folder, launch=launch or here, tell=Events(folder.events).tell)


def trained(wanted: Profile, run: Path, launch: Any = None) -> State:
    """Begin a training, or go on with the one that stands in `run`."""
    supervised = job(wanted, run, launch)
    return supervise(supervised, states.read(supervised.folder) or State(key="k", status="running"))


def weights(run: Path) -> tuple[list[int], bytes]:
    """(the epochs in the table, the tensors of the last checkpoint)."""
    from toy_backend.network import checkpoint_tensors

    shelf = Shelf(Folder(run=run).checkpoints, profile().keep)
    assert shelf.last is not None
    tensors = checkpoint_tensors(shelf.path(shelf.last))
    return [e.epoch for e in shelf.entries], b"".join(tensors[name].tobytes() for name in sorted(tensors))


def endings(state: State) -> list[str]:
    return [s.outcome.ended if s.outcome else "cut off" for s in state.steps]


@pytest.mark.usefixtures("toy")
def test_a_healthy_training_is_one_segment(tmp_path: Path) -> None:
    state = trained(profile(), tmp_path)
    assert (state.status, endings(state), timeline.attempts(state)) == ("done", ["done"], 1)
    assert [e["event"] for e in read(Folder(run=tmp_path).events)][-1] == "end"


@pytest.mark.parametrize("epoch", [1, 4])
def test_nan_goes_back_to_the_last_healthy_epoch_with_a_tenth_of_the_rate(
    toy: Faults, tmp_path: Path, epoch: int
) -> None:
    toy(f"nan@{epoch}")
    state = trained(profile(), tmp_path)
    assert (state.status, endings(state)) == ("done", ["nan", "done"])
    again = state.steps[1].segment
    assert (again.first_epoch, again.lr_scale) == (epoch, pytest.approx(0.1))
    assert weights(tmp_path)[0] == [1, 2, 3, 4, 5, 6]


def test_nan_that_comes_back_ends_after_three_rollbacks_and_keeps_what_was_healthy(toy: Faults, tmp_path: Path) -> None:
    toy("nan@3*")
    state = trained(profile(), tmp_path)
    assert (state.status, endings(state)) == ("failed", ["nan"] * 4)
    assert [s.segment.lr_scale for s in state.steps] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert "3 rollbacks did not help" in state.reason
    assert weights(tmp_path)[0] == [1, 2]


def test_after_the_last_rollback_once_more_in_fp32(toy: Faults, tmp_path: Path) -> None:
    toy("nan@2x4")
    state = trained(profile(train={"precision": "bf16"}), tmp_path)
    assert (state.status, endings(state)) == ("done", [*["nan"] * 4, "done"])
    assert [s.segment.precision for s in state.steps] == [*["bf16"] * 4, "fp32"]


def test_a_collapse_goes_back_to_before_it(toy: Faults, tmp_path: Path) -> None:
    toy("collapse@4")
    state = trained(profile(), tmp_path)
    assert endings(state) == ["collapse", "done"]
    assert state.steps[1].segment.first_epoch == 4
    entries = json.loads((Folder(run=tmp_path).checkpoints / "metadata.json").read_text())
    assert not any(e["suspect"] for e in entries)


def test_a_last_epoch_far_below_the_best_is_not_kept_and_not_trained_for_ever(toy: Faults, tmp_path: Path) -> None:
    toy("collapse@6*")
    state = trained(profile(), tmp_path)
    assert (state.status, endings(state)) == ("done", ["done"])
    shelf = Shelf(Folder(run=tmp_path).checkpoints, profile().keep)
    assert shelf.last is not None
    assert shelf.last.epoch == 5


def test_an_epoch_far_below_the_best_before_the_next_size_is_a_collapse(toy: Faults, tmp_path: Path) -> None:
    toy("collapse@4x2")
    state = trained(profile(train={"resize": {"start": 32, "until": 5, "steps": 1}}), tmp_path)
    assert endings(state) == ["collapse", "collapse", "done", "done"]
    assert [s.segment.first_epoch for s in state.steps] == [1, 4, 4, 5]


def test_a_loop_that_keeps_nothing_and_says_done_is_a_failure(tmp_path: Path) -> None:
    def lies(segment: Segment, _number: int) -> Outcome:
        return Outcome(ended="done", reached=segment.last_epoch, reason="trained")

    state = trained(profile(train={"resize": {"start": 32, "until": 5, "steps": 1}}), tmp_path, lies)
    assert (state.status, state.reason) == ("failed", "no epoch of 1 to 4 is kept")


@pytest.mark.parametrize("epoch", [1, 3])
def test_out_of_memory_halves_the_batch_and_keeps_the_images_per_step(toy: Faults, tmp_path: Path, epoch: int) -> None:
    toy(f"oom@{epoch}x2")
    state = trained(profile(), tmp_path)
    assert (state.status, endings(state)) == ("done", ["oom", "oom", "done"])
    assert [(s.segment.batch, s.segment.accumulate) for s in state.steps] == [(16, 1), (8, 2), (4, 4)]
    assert [s.segment.first_epoch for s in state.steps] == [1, epoch, epoch]
    ledger = json.loads(Folder(run=tmp_path).oom_stats.read_text())
    assert [(r["epoch"], r["batch"], r["accumulate"], r["then"]) for r in ledger] == [
        (epoch, 16, 1, {"batch": 8, "accumulate": 2}),
        (epoch, 8, 2, {"batch": 4, "accumulate": 4}),
    ]
    assert all(r["time"] and r["device"] == "cpu" and "allocate" in r["message"] for r in ledger)


def test_out_of_memory_may_be_tried_again_or_be_the_end(toy: Faults, tmp_path: Path) -> None:
    toy("oom@2")
    again = trained(profile(guard={"oom": "retry"}), tmp_path / "retry")
    assert [(s.segment.batch, s.segment.accumulate) for s in again.steps] == [(16, 1), (16, 1)]
    end = trained(profile(guard={"oom": "fail"}), tmp_path / "fail")
    assert (end.status, endings(end)) == ("failed", ["oom"])
    assert json.loads(Folder(run=tmp_path / "fail").oom_stats.read_text())[0]["done"] == "the training ended"


def test_what_going_on_would_meet_again_is_the_end_at_once(tmp_path: Path) -> None:
    def full(segment: Segment, _number: int) -> Outcome:
        raise Hopeless(Outcome(ended="crash", reached=segment.first_epoch - 1, reason="the disk is full"))

    state = trained(profile(), tmp_path, full)
    assert (state.status, state.reason, endings(state)) == ("failed", "the disk is full", ["crash"])


def test_a_refused_segment_has_not_begun(tmp_path: Path) -> None:
    def refuses(_segment: Segment, _number: int) -> Outcome:
        raise RuleFailed("another activation than asked for")

    with pytest.raises(RuleFailed):
        trained(profile(), tmp_path, refuses)
    left = states.read(Folder(run=tmp_path))
    assert left is not None
    assert (left.status, left.steps) == ("running", ())


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = Folder(run=tmp_path)
    folder.path.mkdir()
    folder.state.write_text("{")
    with pytest.raises(InputError, match=r"state\.json: damaged"):
        states.read(folder)


FAULTS = st.lists(
    st.tuples(st.sampled_from(["nan", "collapse", "oom"]), st.integers(1, 6), st.integers(1, 5)), max_size=4
)


@pytest.mark.usefixtures("toy")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(faults=FAULTS)
def test_whatever_comes_the_plan_holds_together(faults: list[tuple[str, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("TOY_FAULTS", ",".join(f"{name}@{epoch}x{times}" for name, epoch, times in faults))
        state = trained(profile(), Path(folder))
        kept = [e.epoch for e in Shelf(Folder(run=Path(folder)).checkpoints, profile().keep).entries]
        ledger = timeline.oom_ledger(state, "cpu")
    assert kept == list(range(1, len(kept) + 1))
    assert (state.status == "done") == (len(kept) == 6)
    assert len(ledger) == endings(state).count("oom")
    assert {s.segment.effective_batch for s in state.steps} == {16}
    for before, step in pairwise(state.steps):
        assert before.outcome is not None
        assert step.segment.first_epoch == before.outcome.reached + 1
        factor = 0.1 if before.outcome.ended in {"nan", "collapse"} else 1.0
        assert step.segment.lr_scale == pytest.approx(before.segment.lr_scale * factor)


#: Two image sizes, a rule that acts and early stopping: four ways to a next segment or the end.
EVENTFUL = {
    "train": {"epochs": 20, "patience": 4, "resize": {"start": 32, "until": 3, "steps": 1}},
    "rules": [{"metric": "accuracy", "above": 0.5, "after": 4, "lr": 0.5, "auto": True}],
}


@pytest.mark.usefixtures("toy")
def test_killed_at_any_write_it_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    wanted = profile(**EVENTFUL)
    whole = trained(wanted, tmp_path / "whole")
    assert endings(whole) == ["done", "rule", "early_stop"]
    expected, writes = weights(tmp_path / "whole"), 0
    for done in (False, True):
        number = 0
        while True:
            number += 1
            run = tmp_path / f"{number}-{done}"
            if not _killed_at(number, wanted, run, done=done):
                break
            assert trained(wanted, run).status == "done"
            assert weights(run) == expected, f"killed {'after' if done else 'in'} write {number}"
            assert not list(run.rglob(".*.tmp*"))
        writes += number
    assert writes > 30


def _killed_at(number: int, wanted: Profile, run: Path, *, done: bool) -> bool:
    """Train in a forked process that is killed at its `number`th write, half written or just done; whether it was."""
    pid = os.fork()
    if not pid:
        try:
            _kill_at_write(number, done=done)
            trained(wanted, run)
        finally:
            os._exit(0)  # never back into pytest
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _kill_at_write(number: int, *, done: bool) -> None:
    """From now on the `number`th file that takes its name kills this process: before, cut in half, or just after."""
    replace, seen = Path.replace, []

    def replaced(self: Path, target: Path) -> Path:
        seen.append(target)
        if len(seen) == number:
            if done:
                replace(self, target)
            else:
                os.truncate(self, self.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replaced  # type: ignore[method-assign,assignment]
