"""What a loop tells, and what it is answered."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from deploytk.profile import Profile
from deploytk.training import events, segments
from deploytk.training.guard import Facts
from deploytk.training.segments import Outcome
from deploytk.training.state import Folder
from deploytk.training.watch import SegmentEnded, Watch


def watch(run: Path, **parts: Any) -> Watch:
    profile = Profile.model_validate({"name": "p", "train": {"epochs": 5}, **parts})
    return Watch(profile, run, segments.first(profile), precision="fp32")


def epoch(looking: Watch, number: int, fitness: float = 0.5, loss: float = 1.0, **metrics: float) -> bool:
    facts = Facts(epoch=number, losses={"loss": loss}, metrics={"mAP50": fitness, **metrics}, fitness=fitness)
    return looking.epoch(facts, lambda path: path.write_bytes(b"w") and None, lr=0.01)


def ending(looking: Watch, *args: Any, **kwargs: Any) -> Outcome:
    with pytest.raises(SegmentEnded) as ended:
        epoch(looking, *args, **kwargs)
    return ended.value.outcome


def told(run: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in events.read(Folder(run=run).events) if e["event"] == kind]


def test_the_last_epoch_of_the_segment_says_stop(tmp_path: Path) -> None:
    looking = watch(tmp_path)
    assert [epoch(looking, n, 0.1 * n) for n in range(1, 6)] == [False, False, False, False, True]
    assert looking.done() == Outcome(ended="done", reached=5, reason="trained to epoch 5", precision="fp32")
    assert [e["epoch"] for e in told(tmp_path, "epoch")] == [1, 2, 3, 4, 5]
    assert [e["best"] for e in told(tmp_path, "checkpoint")] == [True] * 5


def test_nan_ends_the_segment_at_the_last_healthy_epoch_and_saves_nothing(tmp_path: Path) -> None:
    looking = watch(tmp_path)
    epoch(looking, 1)
    outcome = ending(looking, 2, loss=math.nan)
    assert (outcome.ended, outcome.reached) == ("nan", 1)
    assert [p.name for p in (tmp_path / "training/checkpoints").glob("*.pt")] == ["epoch_0001.pt"]
    assert told(tmp_path, "trouble")[0]["kind"] == "nan"


def test_a_loss_that_is_nan_ends_the_segment_within_the_epoch(tmp_path: Path) -> None:
    looking = watch(tmp_path)
    with pytest.raises(SegmentEnded, match="step 1 of 9 in epoch 1"):
        looking.step(epoch=1, step=1, steps=9, loss=lambda: math.nan)


def test_a_loss_is_looked_at_only_when_a_step_is_told(tmp_path: Path) -> None:
    looking, asked = watch(tmp_path), []
    for step in range(100):
        looking.step(epoch=1, step=step, steps=100, loss=lambda: asked.append(1) or 1.0)
    assert len(asked) < 100
    assert [e["phase"] for e in told(tmp_path, "phase")] == ["step"]


def test_patience_ends_a_training_that_gets_no_better(tmp_path: Path) -> None:
    looking = watch(tmp_path, train={"epochs": 9, "patience": 2})
    epoch(looking, 1, 0.5)
    epoch(looking, 2, 0.4)
    outcome = ending(looking, 3, 0.45)
    assert outcome.ended == "early_stop" and "no better epoch since 1" in outcome.reason


def test_a_milestone_is_told_met_or_not(tmp_path: Path) -> None:
    stones = [{"epoch": 1, "metric": "mAP50", "at_least": v} for v in (0.4, 0.6)] + [
        {"epoch": 1, "metric": "mAp50", "at_least": 0.1}
    ]
    epoch(watch(tmp_path, milestones=stones), 1, 0.5)
    assert [m["met"] for m in told(tmp_path, "milestone")] == [True, False, False]


RULE = {"after": 2, "metric": "mAP50", "below": 0.6, "lr": 2.0}


def test_a_phase_rule_advises_by_default_and_only_once(tmp_path: Path) -> None:
    looking = watch(tmp_path, rules=[RULE])
    for number in (1, 2, 3):
        epoch(looking, number)
    (advice,) = told(tmp_path, "advice")
    assert advice["epoch"] == 2 and advice["changes"] == {"lr": 2.0} and not advice["auto"]


def test_a_phase_rule_acts_where_it_may(tmp_path: Path) -> None:
    looking = watch(tmp_path, rules=[{**RULE, "auto": True}])
    epoch(looking, 1)
    outcome = ending(looking, 2)
    assert (outcome.ended, outcome.reached, outcome.changes) == ("rule", 2, (("lr", 2.0),))


def test_the_gap_between_validation_and_training_can_be_ruled_on(tmp_path: Path) -> None:
    looking = watch(tmp_path, rules=[{"metric": "gap", "above": 0.2, "weight_decay": 2.0}])
    epoch(looking, 1, loss=1.0, val_loss=1.1)
    assert told(tmp_path, "advice") == []
    epoch(looking, 2, loss=1.0, val_loss=1.3)
    assert told(tmp_path, "advice")[0]["changes"] == {"weight_decay": 2.0}


def test_a_plateau_is_a_metric_that_has_not_risen(tmp_path: Path) -> None:
    looking = watch(tmp_path, rules=[{"metric": "mAP50", "plateau": 2, "lr": 0.5}])
    for number, value in enumerate((0.4, 0.5, 0.5, 0.49), 1):
        epoch(looking, number, value)
    assert [a["epoch"] for a in told(tmp_path, "advice")] == [4]


def test_a_loss_that_falls_is_on_no_plateau(tmp_path: Path) -> None:
    looking = watch(tmp_path, rules=[{"metric": "loss", "plateau": 2, "lr": 0.5}])
    for number, value in enumerate((1.0, 0.8, 0.7, 0.6), 1):
        epoch(looking, number, loss=value)
    assert told(tmp_path, "advice") == []
    epoch(looking, 5, loss=0.65)
    assert told(tmp_path, "advice") == []
    # The lowest of the last two must not lie below the lowest before them.
    worse = watch(tmp_path / "worse", rules=[{"metric": "val_loss", "plateau": 2, "lr": 0.5}])
    for number, value in enumerate((1.0, 0.6, 0.7, 0.8), 1):
        epoch(worse, number, val_loss=value)
    (advice,) = told(tmp_path / "worse", "advice")
    assert (advice["epoch"], advice["reason"]) == (4, "val_loss has not fallen for 2 epochs: lr x 0.5")


def test_running_out_of_memory_is_an_outcome_with_its_first_line(tmp_path: Path) -> None:
    looking = watch(tmp_path)
    epoch(looking, 1)
    outcome = looking.out_of_memory(2, RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"))
    assert (outcome.ended, outcome.reached) == ("oom", 1)
    assert outcome.reason == "out of memory in epoch 2: CUDA out of memory. Tried to allocate 2 GiB"
    assert told(tmp_path, "oom")[0]["batch"] == 16


def test_a_torn_line_in_the_events_is_left_out(tmp_path: Path) -> None:
    epoch(watch(tmp_path), 1)
    path = Folder(run=tmp_path).events
    path.write_text(path.read_text() + '{"event": "ep')
    assert told(tmp_path, "epoch")[0]["metrics"] == {"mAP50": 0.5}
