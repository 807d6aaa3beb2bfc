"""The folder of a run belongs to one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk.errors import InputError
from deploytk.stages.run_folder import RunFolder


def test_a_second_deploytk_in_the_same_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    second = RunFolder(tmp_path).alone()
    with RunFolder(tmp_path).alone(), pytest.raises(InputError, match="another deploytk is at work here"):
        second.__enter__()
    with RunFolder(tmp_path).alone():
        pass
