"""Strict YAML: one reader for every kind of file, each with its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from deploytk import strict_yaml
from deploytk.errors import InputError, ProfileError


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: float = 1.0


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    best: Part | None = None
    parts: tuple[Part, ...] = ()


WORDS = strict_yaml.Words(what="whole")


def written(folder: Path, text: str) -> Path:
    path = folder / "w.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: t\nprats: []\n", "w.yaml:2: unknown key 'prats'; did you mean 'parts'?"),
        ("title: t\nparts:\n  - {weight: 1}\n  - tall: 2\n", "w.yaml:4: parts.1: unknown key 'tall'; known: weight"),
        ("title: t\nbest:\n  weigth: 1\n", "w.yaml:3: best: unknown key 'weigth'; did you mean 'weight'?"),
        ("title: t\nbest: {weight: heavy}\n", "w.yaml:2: best.weight: Input should be a valid number"),
        ("title: t\nparts: [3]\n", "w.yaml:2: parts.0: must be a mapping of keys to values (got 3)"),
        ("best: {}\n", "w.yaml: title: is missing"),
        ("title: t\nbest: {weight: 1, weight: 2}\n", "w.yaml:2: best.weight: written twice (line 2 too)"),
        ("title: [\n", "w.yaml:2: not valid YAML: expected the node content"),
        ("title: &a [*a]\n", "an alias (*) stands inside its own anchor (&)"),
        ("", "w.yaml: empty, or not a mapping of keys to values"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        strict_yaml.read(Whole, written(tmp_path, text), WORDS)
    assert told in caught.value.message


def test_each_wrong_line_is_a_reason_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        strict_yaml.read(Whole, written(tmp_path, "titel: t\nbest: {weight: x}\n"), WORDS)
    assert len(caught.value.reasons) == 3


def test_a_kind_of_file_has_its_own_words_and_its_own_error(tmp_path: Path) -> None:
    words = strict_yaml.Words(
        what="profile", error=ProfileError, first="{path}:{line}", unknown="unknown key {path}", malformed="no YAML"
    )
    for text, told in (
        ("title: t\nbest:\n  weigth: 1\n", r"w\.yaml:3: unknown key best\.weigth; did you mean 'weight'\?"),
        ("title: t\ntitle: u\n", r"w\.yaml:2: title: written twice \(.*w\.yaml:1 too\)"),
        ("title: [\n", r"w\.yaml:2: no YAML: "),
    ):
        with pytest.raises(ProfileError, match=told):
            strict_yaml.read(Whole, written(tmp_path, text), words)


def test_a_file_that_is_not_there_is_named_for_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no readable whole \(No such file"):
        strict_yaml.read(Whole, tmp_path / "none.yaml", WORDS)
