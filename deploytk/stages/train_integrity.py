"""Whether what a training left in a run folder is whole: its table against its files, and every tensor finite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins
from deploytk.artifact import Artifact
from deploytk.errors import InputError
from deploytk.report import Finding
from deploytk.stages.run_folder import RunFolder
from deploytk.training import state
from deploytk.training.shelf import entries_in
from deploytk.training.state import Folder


def checked(backend: str, run: str) -> dict[str, Any]:
    """What is wrong in a run folder (`findings`), and how many checkpoints were opened. Nothing is changed."""
    folder = RunFolder(Path(run))
    found = list(_findings(plugins.load("backends", backend), folder))
    checkpoints = Folder(run=folder.path).checkpoints
    return {
        "findings": [asdict(f) for f in found],
        "checkpoints": len(list(checkpoints.glob("epoch_*.pt"))),
        "model": folder.model.is_file(),
    }


def _findings(backend: Any, run: RunFolder) -> Iterator[Finding]:
    folder = Folder(run=run.path)
    try:
        state.read(folder)
        entries = entries_in(folder.checkpoints)
    except InputError as error:
        yield _error("TRN010", folder.path, error.message)
        return
    files = {path.name for path in folder.checkpoints.glob("epoch_*.pt")}
    named = {e.file for e in entries if e.file}
    for gone in sorted(named - files):
        yield _error("TRN010", folder.checkpoints / gone, "stands in metadata.json and is not there")
    for name in sorted(files):
        yield from _tensors(backend, folder.checkpoints / name)
        if name not in named:
            # A training that was killed leaves it, and the next one removes it.
            what = "does not stand in metadata.json: it was being written when the training was cut off"
            yield Finding(rule="TRN011", severity="info", where=name, message=what)
    yield from _model(backend, run)


def _model(backend: Any, run: RunFolder) -> Iterator[Finding]:
    if not run.model.exists():
        return
    try:
        Artifact.load(run.model)
    except InputError as error:
        yield _error("TRN013", run.model, error.message)
    yield from _tensors(backend, run.model)


def _tensors(backend: Any, path: Path) -> Iterator[Finding]:
    try:
        sick = _sick(backend, path)
    except Exception as error:  # whatever a reader of files raises about a damaged one
        yield _error("TRN011", path, f"cannot be opened ({type(error).__name__}: {str(error).splitlines()[0][:200]})")
        return
    if sick:
        yield _error("TRN012", path, f"{len(sick)} tensors hold NaN or infinity (first: {sick[0]})")


def _sick(backend: Any, path: Path) -> list[str]:
    """The tensors of a checkpoint that are not finite, by the backend's own reader where it has one."""
    reader = getattr(backend, "checkpoint_tensors", None)
    if reader is not None:
        return [name for name, tensor in reader(path).items() if not np.isfinite(tensor).all()]
    from deploytk.training.tensors import sick

    return sick(path)


def _error(rule: str, where: Path, message: str) -> Finding:
    return Finding(rule=rule, severity="error", where=str(where), message=message, fix="train anew with --restart")
