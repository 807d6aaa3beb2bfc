"""The network and its checkpoints: two weights, a bias, and the momentum of each, as a plain .npz."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.profile import Profile

Tensors = dict[str, np.ndarray]


def points(seed: int, count: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """(points with a constant 1 as third coordinate, their classes -1 or 1): two clouds that overlap a little."""
    random = np.random.default_rng(seed)
    classes = np.where(random.random(count) < 0.5, -1.0, 1.0)
    where = random.normal(0.0, 1.0, (count, 2)) + classes[:, None] * np.array([1.2, -0.8])
    return np.concatenate([where, np.ones((count, 1))], axis=1), classes


def fresh(profile: Profile) -> Tensors:
    """The tensors that a training starts with; another architecture or activation has others."""
    told = f"{profile.train.seed}/{profile.model.model_dump_json()}"
    random = np.random.default_rng(int(hashlib.sha256(told.encode()).hexdigest()[:8], 16))
    away = np.array([-0.4, 0.4, 0.4])  # it begins by being wrong, so that there is something to learn for a while
    return {"weight": away + random.normal(0.0, 0.1, 3), "velocity": np.zeros(3)}


def scores(tensors: Tensors, inputs: np.ndarray) -> np.ndarray:
    """What the classifier says of each point: above 0 is class 1."""
    return np.asarray(inputs @ tensors["weight"])


def measured(tensors: Tensors, inputs: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """accuracy and val_loss."""
    said = scores(tensors, inputs)
    return {
        "accuracy": float((np.sign(said) == classes).mean()),
        "val_loss": float(((said - classes) ** 2).mean()),
    }


def write(path: Path, tensors: Tensors) -> None:
    """Write a checkpoint."""
    with path.open("wb") as stream:
        np.savez(stream, **tensors)  # type: ignore[arg-type]


def checkpoint_tensors(path: Path) -> Tensors:
    """The tensors in a checkpoint; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def describe(checkpoint: Path) -> dict[str, Any]:
    """What is known of a model file."""
    return {"arch": "toy", "classes": ["minus", "plus"], "tensors": sorted(checkpoint_tensors(checkpoint))}
