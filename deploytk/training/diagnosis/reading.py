"""Curves from a path that a user gives: a folder, a results.csv, a console log or a trainer_state.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploytk.errors import InputError
from deploytk.training.diagnosis import console, curves, run, settings, trainer_state
from deploytk.training.diagnosis.text import text_of
from deploytk.training.diagnosis.values import Curves

_WANTED = "a run folder, a results.csv, a console log, or a trainer_state.json"


def read(path: Path) -> Curves:
    """The curves of the training that `path` is the log of, with the settings that stand beside it.

    Raises:
        InputError: there is nothing, or it is no log of a training.
    """
    try:
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{path!s}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not exists:
        raise InputError(f"{path}: not there; give {_WANTED}")
    if not folder:
        return _of_file(path)
    return run.read(path) if run.is_run(path) else _of_file(_log_in(path))


def _log_in(folder: Path) -> Path:
    """The log in a folder of another tool's: its results.csv, or the newest checkpoint's trainer_state.json."""
    for name in ("results.csv", "trainer_state.json"):
        if (folder / name).is_file():
            return folder / name
    checkpoints = [p for p in folder.glob("checkpoint-*/trainer_state.json") if p.parent.name[11:].isdigit()]
    if checkpoints:
        return max(checkpoints, key=lambda p: int(p.parent.name[11:]))
    logs = sorted(folder.glob("*.log"))
    if len(logs) == 1:
        return logs[0]
    raise InputError(f"{folder}: no log of a training in it (results.csv, trainer_state.json); give {_WANTED}")


def _of_file(path: Path) -> Curves:
    text = text_of(path)
    parsers = (trainer_state.parse, curves.parse, console.parse)
    found = next((c for parse in parsers if (c := parse(text, path.name)) is not None), None)
    if found is None:
        raise InputError(f"{path}: no log of a training; give {_WANTED}")
    known = {**settings.beside(path.parent), **found.settings}
    return replace(found, settings=known, planned=found.planned or settings.planned(known))
