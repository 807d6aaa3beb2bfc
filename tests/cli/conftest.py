"""A working folder with a profile of the toy backend in it, for the tests of `deploytk train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def here(
    toy: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """The folder, with the test file's PROFILE as tiny.yaml."""
    toy("")
    (tmp_path / "tiny.yaml").write_text(request.module.PROFILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path
