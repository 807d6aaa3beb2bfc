"""Many images at once: the same answers from threads and processes, and a decoder that dies takes nothing with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from damaged_data import codes, jpeg

from deploytk.data.checks import looking
from deploytk.data.checks.image_checks import Looked


def images(tmp_path: Path, count: int) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(jpeg(i, (32, 32))[: 200 if i == 3 else None])
    return paths


def quiet(_event: dict[str, Any]) -> None:
    """Listen to nothing."""


def test_threads_and_processes_give_the_same_and_tell_how_far_they_are(tmp_path: Path) -> None:
    paths = images(tmp_path, 70)
    events: list[dict[str, Any]] = []
    here = looking.look_at(paths, deep=True, jobs=1, listen=quiet)
    assert looking.look_at(paths, deep=True, jobs=2, listen=events.append) == here
    assert list(here) == paths
    assert [image.name for image, found in here.items() if found.problems] == ["3.jpg"]
    assert [event["done"] for event in events] == [32, 64, 70]
    assert {event["total"] for event in events} == {70}


def die_of(image: Path, *, deep: bool) -> Looked:
    """A decoder that one file kills."""
    if image.name == "3.jpg":
        os._exit(1)
    return Looked(image=image, digest=f"{deep}".encode())


def die_of_batch(some: list[Path], *, deep: bool) -> list[Looked]:
    return [die_of(image, deep=deep) for image in some]


def test_the_file_that_kills_its_decoder_is_named_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "look_at_all", die_of_batch)
    monkeypatch.setattr(looking, "_BATCH", 1)
    monkeypatch.setattr(looking, "_FEW", 1)
    paths = [tmp_path / f"{i}.jpg" for i in (2, 3)]
    found = looking.look_at(paths, deep=True, jobs=2, listen=quiet)
    assert {image.name: codes(each) for image, each in found.items()} == {
        "2.jpg": [],
        "3.jpg": ["DAT009"],
    }
    assert found[paths[1]].problems[0].said == "the decoder crashed on it"
