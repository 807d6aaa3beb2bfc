"""The data files that ship with deploytk, found in a wheel, an editable install and a checkout alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `name` ("profiles") of shipped data.

    Raises:
        FileNotFoundError: the installation is broken.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"deploytk's own folder {name!r} is missing: reinstall deploytk")
