"""`--help` answers in a blink: what it must not import, it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploytk.cli.main import COMMANDS

HEAVY = [
    *("torch", "onnx", "onnxruntime", "ultralytics", "pydantic", "numpy"),
    *("matplotlib", "scipy", "rich", "jinja2", "ai_edge_litert", "ethosu"),
]

CODE = """
import sys
from deploytk.cli.main import cli
try:
    cli.main({args!r}, standalone_mode=False)
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules])
"""


def imported_by(*args: str) -> str:
    code = CODE.format(args=list(args), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_help_imports_nothing_heavy() -> None:
    assert imported_by("--help") == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_imports_nothing_heavy(command: str) -> None:
    assert imported_by(command, "--help") == "[]"


def test_the_guard_can_fail() -> None:
    code = CODE.format(args=["--help"], heavy=["click"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("['click']")
