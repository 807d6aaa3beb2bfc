"""Trainings with the backend for tests (tests/toy_backend): a profile, and a segment in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.profile import Profile
from deploytk.training.segments import as_dict, first


def profile(name: str = "toy", **sections: Any) -> Profile:
    """A profile of six short epochs; `train={...}`, `guard={...}` ... are set on top."""
    train = {"epochs": 6, "imgsz": 64, "batch": 16, "lr0": 0.005, "device": "cpu", **sections.pop("train", {})}
    return Profile.model_validate({"name": name, "backend": "toy", "train": train, **sections})


def train_here(wanted: Profile, run: Path) -> dict[str, Any]:
    """The outcome of the first segment, trained in this process (the fixture `toy` is needed)."""
    from toy_backend.training import train_segment

    return train_segment(wanted.model_dump(mode="json", by_alias=True), str(run), as_dict(first(wanted)))
