"""Two processes train as one does, and what becomes of one of them is what becomes of the training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import points_training as points

from deploytk.backends import checks
from deploytk.errors import InputError
from deploytk.training import deaths, events
from deploytk.training.following import Follower
from deploytk.training.loop import several
from deploytk.training.loop.loop import Loop
from deploytk.training.segments import Outcome, Segment, as_dict, first, outcome_from
from deploytk.training.state import Folder, State
from deploytk.training.supervisor import Job, reached, supervise


def _trained(run: Path, faults: dict[str, str], **train: Any) -> State:
    wanted, folder = points.profile(**train), Folder(run=run)
    folder.path.mkdir(parents=True)

    def launch(segment: Segment, _number: int) -> Outcome:
        told = {"told": wanted.model_dump(mode="json", by_alias=True), "run": str(run), "segment": as_dict(segment)}
        try:
            return outcome_from(
                several.launched(
                    "points_training:train_part", {**told, "faults": faults}, processes=2, events=folder.events
                )
                if len(wanted.train.devices) > 1
                else points.train_part(**told, faults=faults)
            )
        except RuntimeError as error:  # what stages/train_child.py makes of a child that crashed
            return Outcome(ended="crash", reached=reached(job), reason=str(error))

    job = Job(profile=wanted, folder=folder, launch=launch, tell=lambda *_args, **_fields: None)
    return supervise(job, State(key="k", status="running"))


@pytest.mark.e2e
def test_two_processes_are_one_even_where_one_of_them_is_killed(tmp_path: Path) -> None:
    settings = {"batch": 8, "effective_batch": 16, "optimizer": "AdamW", "lr0": 0.02}
    _trained(tmp_path / "one", {}, **settings)
    state = _trained(tmp_path / "two", {"1@2": "kill"}, device="cpu,cpu", **settings)
    assert [s.outcome.ended for s in state.steps if s.outcome] == ["crash", "done"]
    assert state.steps[0].outcome and "process 1 of 2 was killed from outside" in state.steps[0].outcome.reason
    assert points.distance(points.weights(tmp_path / "one"), points.weights(tmp_path / "two")) < 1e-5
    told = [e["epoch"] for e in events.read(Folder(run=tmp_path / "two").events) if e["event"] == "epoch"]
    assert told == [1, 2, 3, 4]


def test_want_of_memory_in_another_process_is_an_outcome_and_told(tmp_path: Path) -> None:
    wanted, folder = points.profile(), Folder(run=tmp_path)
    part = first(wanted)

    def logits(*_: Any) -> Any:
        raise points.torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    follower = Follower(wanted, tmp_path, part, precision="fp32")
    outcome = Loop(wanted, part, follower, points.task(logits=logits), points.torch.device("cpu")).run()
    assert outcome.ended == "oom" and [e["event"] for e in events.read(folder.events)] == ["oom"]


def _decided(said: dict[int, dict[str, Any]], rank: int, code: int) -> dict[str, Any]:
    failed: Any = SimpleNamespace(get_first_failure=lambda: (rank, SimpleNamespace(exitcode=code)))
    return several._decided(said, failed, 2, deaths.Memory())


def test_the_first_process_has_the_word_and_one_that_was_left_alone_has_not() -> None:
    stopped = {"ended": "early_stop", "reason": "no better"}
    assert _decided({0: {"outcome": stopped}, 1: {"crash": "RuntimeError: gloo: peer"}}, 0, 1) == stopped
    short = {"ended": "oom", "reason": "out of memory"}
    assert _decided({0: {"crash": "RuntimeError: gloo: peer"}, 1: {"outcome": short}}, 1, 1) == short
    with pytest.raises(InputError, match=r"7\.jpg"):
        _decided({1: {"error": {"type": "InputError", "message": "7.jpg: broken", "reasons": []}}}, 1, 1)
    with pytest.raises(RuntimeError, match="process 1 of 2 failed: ValueError: no"):
        _decided({0: {"crash": "gloo"}, 1: {"crash": "ValueError: no"}}, 1, 1)


@pytest.mark.parametrize(
    ("device", "said"),
    [("0,0", "names one GPU twice"), ("cpu,0", "no devices to train on together"), ("auto,auto", "one GPU twice")],
)
def test_devices_that_do_not_go_together_are_refused(device: str, said: str) -> None:
    assert said in checks.devices(points.profile(device=device), 20)[0].message


def test_each_process_needs_two_images_of_a_batch() -> None:
    (found,) = checks.devices(points.profile(device="cpu,cpu,cpu", batch=4), 20)
    assert "two images each are at least needed: 6" in found.message
