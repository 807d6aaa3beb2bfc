"""Whether a training that waits for its images is told so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploytk import usage
from deploytk.profile_training import Train
from deploytk.training.loop import pace
from deploytk.training.shelf import Entry


def _epochs(*waited: float) -> list[Entry]:
    facts = [{"images": 300, "trained_s": 10.0, "waited_s": seconds} for seconds in waited]
    return [Entry(epoch=i, file=None, fitness=0.1, facts=f) for i, f in enumerate(facts, start=1)]


def test_a_loader_that_is_too_slow_is_told_with_both_rates_and_the_remedy() -> None:
    found = pace.pace(_epochs(9.9, 7.0, 7.0, 1.0))
    (said,) = pace.findings(found, Train(workers=0))
    assert "70% of the time" in said.message and "(30 images/s; the steps alone would take 100)" in said.message
    assert said.fix == f"use workers: {usage.cores()}, or smaller files"
    assert "no more cores" in pace.findings(found, Train(workers=usage.cores()))[0].fix


def test_a_training_is_told_in_its_first_seconds_and_the_start_of_the_workers_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter((20.0, 26.0, 31.0))
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    start = pace.Start()
    assert start.after(8, waited_s=19.0) is None and start.after(8, waited_s=22.0) is None
    found = start.after(14, waited_s=24.5)
    assert found == pace.Pace(images_per_s=2.0, steps_per_s=4.0, waited=0.5)


def test_one_that_keeps_up_and_one_that_is_not_known_are_not() -> None:
    assert pace.findings(pace.pace(_epochs(9.0, 0.5, 0.5)), Train()) == []
    assert pace.pace([Entry(epoch=1, file=None, fitness=0.1)]) is None
