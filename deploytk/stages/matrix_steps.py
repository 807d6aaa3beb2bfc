"""What is done with the models of a matrix in a child process: their weights compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins


def digests(models: Mapping[str, tuple[str, str]]) -> dict[str, str | None]:
    """The sha256 of the tensors of each (backend, model file), None for one that cannot be opened."""
    return {name: _digest(plugins.load("backends", backend), Path(path)) for name, (backend, path) in models.items()}


def _digest(backend: Any, path: Path) -> str | None:
    try:
        reader = getattr(backend, "checkpoint_tensors", None)
        if reader is not None:
            return of_arrays(reader(path))
        from deploytk.training import tensors

        return of_arrays(tensors.as_bytes(path))
    except Exception:  # whatever a reader of files raises about a damaged one; the training said what is wrong with it
        return None


def of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 of arrays, their names, types and shapes, in whatever order they come."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
