"""The class index: the same ids whatever the order of the rows, and no file that was changed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.data import class_index
from deploytk.errors import InputError


@given(st.lists(st.text(min_size=1), min_size=1), st.randoms())
def test_ids_do_not_depend_on_the_order_of_the_labels(labels: list[str], chance: object) -> None:
    mixed = list(labels)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert class_index.of_labels(labels) == class_index.of_labels(mixed)
    assert class_index.of_labels(labels).sha256 == class_index.of_labels(mixed).sha256


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    index = class_index.of_labels(["cat", "007", "고양이", "cat"])
    class_index.write(tmp_path / "classes.json", index)
    assert class_index.read(tmp_path / "classes.json") == index
    assert (index.classes, index.id_of("cat")) == (("007", "cat", "고양이"), 1)
    with pytest.raises(InputError, match="no class 'dog' among the 3"):
        index.id_of("dog")


def test_a_changed_a_foreign_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    class_index.write(file, class_index.of_labels(["a", "b"]))
    told = json.loads(file.read_text())
    for change, said in (
        ({"classes": {"a": 1, "b": 0}}, "changed by hand"),
        ({"classes": {"a": 0, "b": 2}}, "its ids are not 0 to 1"),
        ({"classes": ["a", "b"]}, "no class index; make one with"),
    ):
        file.write_text(json.dumps(told | change))
        with pytest.raises(InputError, match=said):
            class_index.read(file)
    with pytest.raises(InputError, match="no readable class index"):
        class_index.read(tmp_path / "none.json")
