"""The tensors of what a text model's training leaves, without unpickling anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def checkpoint_tensors(path: Path) -> dict[str, np.ndarray]:
    """The weights in a checkpoint, or in the folder of a trained model, by name; half precision as float32.

    Raises:
        Exception: there are none, or a file is damaged.
    """
    if path.is_file():
        told = torch.load(path, map_location="cpu", weights_only=True)["model"]
    else:
        from safetensors.torch import load_file

        told = {name: t for file in sorted(path.glob("*.safetensors")) for name, t in load_file(file).items()}
    return {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in told.items()}
