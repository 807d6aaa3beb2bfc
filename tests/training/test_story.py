"""A training as its events tell it: where it is, what went wrong, how long it will take; whatever the lines hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from happenings import anything, epoch, outcome, segment
from hypothesis import given, settings

from deploytk.training import events
from deploytk.training.story import Mark, sentence, told


def test_a_training_under_way() -> None:
    story = told(
        [
            segment(),
            {"event": "phase", "phase": "first_step", "time": 0.0},
            epoch(1, 0.2),
            epoch(2, 0.3, memory_mb=900.0),
            {"event": "step", "epoch": 3, "step": 4, "steps": 7, "loss": 0.75, "lr": 0.02},
        ]
    )
    assert (story.phase, story.epoch, story.epochs, story.step, story.steps) == ("step", 3, 9, 4, 7)
    assert (story.loss, story.lr, story.fitness, story.memory_mb) == (0.75, 0.02, 0.3, 900.0)
    assert (story.batch, story.accumulate, story.best, story.best_epoch) == (16, 1, 0.3, 2)
    assert story.eta_s == 70.0  # seven epochs of ten seconds


def test_a_rollback_takes_back_epochs_and_the_best_among_them() -> None:
    story = told([segment(), epoch(1, 0.2), epoch(2, 0.9), outcome("nan"), segment(2, reason="rollback 1 of 3")])
    assert (list(story.rows), story.best, story.best_epoch, story.rollbacks) == ([1], 0.2, 1, 1)
    assert story.marks == [Mark(kind="rollback", epoch=2, text="rollback 1 of 3")]


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        ([outcome("oom")], "out of memory"),
        ([outcome("rule")], "phase rule"),
        ([outcome("killed")], "tried again"),
        ([outcome("early_stop")], "more epochs"),
        ([], "resumed"),
    ],
)
def test_each_new_segment_is_a_mark_by_how_the_last_one_ended(before: list[dict[str, Any]], kind: str) -> None:
    assert [mark.kind for mark in told([segment(), epoch(1, 0.2), *before, segment(2)]).marks] == [kind]


def test_another_size_is_a_resize_and_the_same_one_more_epochs() -> None:
    assert told([segment(), outcome("done"), segment(2, imgsz=96)]).marks[0].kind == "resize"
    assert told([segment(), outcome("done"), segment(2)]).marks[0].kind == "more epochs"


def test_an_epoch_that_is_suspect_is_never_the_best_and_of_equal_ones_the_last_is() -> None:
    story = told([segment(), epoch(1, 0.5), epoch(2, 0.5), epoch(3, 0.9, suspect=True)])
    assert (story.best, story.best_epoch) == (0.5, 2)


def test_only_what_a_person_is_to_know_at_once_is_a_sentence() -> None:
    assert sentence(segment()) == ""
    assert sentence(epoch(1, 0.2)) == ""
    assert sentence(segment(4, reason="rollback 1 of 3")) == "from epoch 4: rollback 1 of 3"
    assert sentence({"event": "advice", "reason": "lr x 0.5", "auto": True}) == ""
    assert sentence({"event": "advice", "reason": "lr x 0.5", "auto": False}) == "advice: lr x 0.5"
    stone = {"event": "milestone", "epoch": 3, "metric": "mAP50", "at_least": 0.9, "reached": 0.5, "met": False}
    assert sentence(stone) == "milestone missed: mAP50 was to be 0.9 at epoch 3, it is 0.5"
    assert sentence({**stone, "met": True}) == ""
    assert sentence({"event": "end", "ok": False, "reason": "no"}) == "failed: no"
    assert sentence({"event": "end", "ok": True, "reason": "all"}) == ""


def test_a_backend_without_segments_is_followed_by_its_count() -> None:
    story = told([{"done": 2, "total": 5, "text": "epoch 2: loss 0.5"}])
    assert (story.epoch, story.epochs, story.phase) == (2, 5, "epoch 2: loss 0.5")


@settings(deadline=None)
@given(happened=anything)
def test_any_events_make_a_story_and_sentences_of_one_line(happened: list[dict[str, Any]]) -> None:
    story = told(happened)
    assert story.rollbacks >= 0
    assert all("\n" not in sentence(event) and sentence(event).isprintable() for event in happened)
    assert story.best_epoch is None or story.best_epoch in story.rows


def test_torn_lines_are_left_out(tmp_path: Path) -> None:
    lines = [json.dumps(e) for e in (segment(), epoch(1, 0.2), epoch(2, 0.3))]
    (tmp_path / "events.jsonl").write_text("\n".join([lines[0], lines[1][:20], lines[1], "[]", "\x00", lines[2][:-1]]))
    assert list(told(events.read(tmp_path / "events.jsonl")).rows) == [1]
