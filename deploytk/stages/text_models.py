"""Text models as a command line names them: a folder, or the run that they were trained in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploytk.artifact import Artifact, sidecar
from deploytk.stages.run_folder import RunFolder
from deploytk.text import description as descriptions
from deploytk.text.description import Described


def is_text(path: Path) -> bool:
    """Whether `path` is a text model, or a run with one."""
    return descriptions.is_text(path) or descriptions.is_text(path / "model")


def opened(path: Path) -> Described:
    """The text model at `path`, or the one that was trained in the run there.

    Raises:
        InputError: there is none, or its files are not those that it names.
    """
    if not descriptions.is_text(path) and descriptions.is_text(path / "model"):
        path = path / "model"
    return descriptions.read(path)


def run_of(model: Described) -> RunFolder | None:
    """The run in whose folder a model stands; None where it stands in none."""
    near = (RunFolder(f) for f in model.folder.absolute().parents[:3] if (f / "profile.json").is_file())
    return next(near, None)


def artifact_of(model: Described) -> Artifact:
    """A text model with its lineage, where deploytk has kept one beside it."""
    if sidecar(model.folder).is_file():
        return Artifact.load(model.folder)
    return replace(Artifact.given(model.folder, "transformers"), precision=model.description.precision)
