"""state.json: what was done, read back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.training import segments, state
from deploytk.training.segments import Outcome
from deploytk.training.state import Folder, State


def test_a_state_reads_back_as_it_was_written(tmp_path: Path) -> None:
    folder = Folder(run=tmp_path)
    begun = State(key="k", status="running").with_segment(segments.first(Profile(name="p")))
    begun.write(folder)
    assert state.read(folder) == begun
    ended = begun.with_outcome(Outcome(ended="oom", reached=2, reason="r", evidence=("e",)), 12.34)
    ended.write(folder)
    assert state.read(folder) == ended and ended.steps[0].seconds == 12.3


def test_no_training_has_no_state(tmp_path: Path) -> None:
    assert state.read(Folder(run=tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "k"}', '{"steps": [{"segment": {"x": 1}}]}'])
def test_a_damaged_state_is_one_clear_error(tmp_path: Path, text: str) -> None:
    folder = Folder(run=tmp_path)
    folder.path.mkdir()
    folder.state.write_text(text)
    with pytest.raises(InputError, match=r"state\.json: damaged"):
        state.read(folder)
