"""The backend for tests learns, is found as a plugin, and has the faults it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from toy_training import profile, train_here

from deploytk import plugins
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder

Faults = Callable[[str], None]


@pytest.mark.usefixtures("toy")
def test_it_is_found_as_a_plugin_and_learns(tmp_path: Path) -> None:
    assert "toy" in plugins.names("backends")
    assert plugins.load("backends", "toy").PRIMARY == "accuracy"
    assert train_here(profile(), tmp_path)["ended"] == "done"
    best = Shelf(Folder(run=tmp_path).checkpoints, profile().keep).best
    assert best is not None
    assert best.metrics["accuracy"] > 0.8


@pytest.mark.parametrize(("fault", "ended", "reached"), [("nan@2", "nan", 1), ("oom@1", "oom", 0)])
def test_a_fault_comes_once_where_it_is_asked_for(
    toy: Faults, tmp_path: Path, fault: str, ended: str, reached: int
) -> None:
    toy(fault)
    outcome = train_here(profile(), tmp_path)
    assert (outcome["ended"], outcome["reached"]) == (ended, reached)
    assert train_here(profile(), tmp_path)["ended"] == "done"


@pytest.mark.usefixtures("toy")
def test_a_learning_rate_far_too_high_diverges(tmp_path: Path) -> None:
    assert train_here(profile(train={"lr0": 1e3, "epochs": 60}), tmp_path)["ended"] in {"nan", "collapse"}
