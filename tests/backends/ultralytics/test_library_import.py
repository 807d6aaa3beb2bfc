"""Importing Ultralytics leaves the process as it was: no writes at home, stdout quiet, Pillow its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")


def test_import_writes_nothing_at_home_and_nothing_to_stdout(tmp_path: Path) -> None:
    code = (
        "from PIL import Image; before = Image.open\n"
        "from deploytk.backends.ultralytics import network\n"
        "from deploytk.profile import Activation\n"
        "network.build('yolov8', 'n', 3, Activation(kind='relu').expected(), 0.1)\n"
        "assert Image.open is before"
    )
    env = {**os.environ, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=env, timeout=120)
    assert done.stdout == b""
    assert [p.name for p in tmp_path.iterdir() if "matplotlib" not in p.name and p.name != "home"] == []
    assert not (tmp_path / "home" / ".config" / "Ultralytics").exists()
