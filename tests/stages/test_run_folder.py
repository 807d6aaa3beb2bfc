"""The folder of a run belongs to one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages.export import at_size
from deploytk.stages.run_folder import RunFolder


def test_a_second_deploytk_in_the_same_folder_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    second = RunFolder(tmp_path).alone()
    with RunFolder(tmp_path).alone(), pytest.raises(InputError, match="another deploytk is at work here"):
        second.__enter__()
    with RunFolder(tmp_path).alone():
        pass


def test_another_image_size_has_folders_of_its_own(tmp_path: Path) -> None:
    run, profile = RunFolder(tmp_path), Profile(schema=1, name="x")  # type: ignore[call-arg]
    assert at_size(run, profile, None) == at_size(run, profile, 640) == (run, profile)
    smaller, at_320 = at_size(run, profile, 320)
    assert (smaller.onnx, at_320.train.imgsz) == (tmp_path / "export" / "onnx-320" / "model.onnx", 320)
    assert smaller.model == run.model
    with pytest.raises(InputError, match="multiple of 32"):
        at_size(run, profile, 300)
