"""A backend that trains in one go: skipped where it is done, anew with restart, no smoke without segments."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toy_training import profile

from deploytk import plugins
from deploytk.errors import InputError
from deploytk.stages import train_modes
from deploytk.stages.train import train


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run folder for each time that the backend `whole` has trained, in this process."""
    runs: list[str] = []

    def train_all(_profile: dict[str, Any], run: str) -> dict[str, Any]:
        runs.append(run)
        (Path(run) / "model.pt").write_bytes(b"weights")
        return {"metrics": {"accuracy": 0.9}, "epochs": [{}] * 6}

    backend = ModuleType("whole_backend")
    offers = {"DISTRIBUTIONS": (), "preflight": lambda _p: [], "data_fingerprint": lambda _p: "d", "train": train_all}
    backend.__dict__.update(offers)
    monkeypatch.setitem(sys.modules, "whole_backend", backend)
    monkeypatch.setitem(plugins.TABLES["backends"], "toy", "whole_backend")
    monkeypatch.setattr("deploytk.worker.call", lambda _function, kwargs, **_rest: train_all(**_named(kwargs)))
    return runs


def _named(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"_profile": kwargs["profile"], "run": kwargs["run"]}


def test_done_is_skipped_and_restart_trains_anew(trained: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert [train(profile(), run).sections["skipped"]["train"] for _ in range(2)] == [False, True]
    assert train(profile(), run, how="restart").sections["skipped"] == {"train": False}
    assert len(trained) == 2


def test_what_needs_segments_is_refused_before_anything_is_trained(trained: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--mode smoke: the backend toy does not train in segments yet"):
        train_modes.smoke(profile(), tmp_path / "run")
    with pytest.raises(InputError, match="--resume: the backend toy"):
        train(profile(), tmp_path / "run", how="resume")
    with pytest.raises(InputError, match=r"train\.resize: .*\nguard: "):
        train(profile(train={"resize": {"start": 32, "until": 3}}, guard={"nan": "fail"}), tmp_path / "run")
    assert trained == []
    assert not (tmp_path / "run").exists()
