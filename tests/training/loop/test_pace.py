"""Whether a training that waits for its images is told so."""

from __future__ import annotations

from deploytk import usage
from deploytk.profile import Train
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


def test_one_that_keeps_up_and_one_that_is_not_known_are_not() -> None:
    assert pace.findings(pace.pace(_epochs(9.0, 0.5, 0.5)), Train()) == []
    assert pace.pace([Entry(epoch=1, file=None, fitness=0.1)]) is None
