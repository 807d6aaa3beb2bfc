"""The checkpoint of a classifier: tensors and plain values only, so that opening it runs no code (torch).

`{"format": "deploytk-classifier-1", "arch", "names", "imgsz", "activation", "negative_slope", "preparation",
"state_dict", ...}`. The network is rebuilt from timm's own code by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from deploytk.backends.classifier import network
from deploytk.errors import InputError
from deploytk.files import written_whole
from deploytk.graphs.pickles import CLASSIFIER, checkpoint_kind


def write(told: dict[str, Any], model: nn.Module, path: Path) -> None:
    """Write a checkpoint; what it says of itself is `told`."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    with written_whole(path) as temporary:
        torch.save({"format": CLASSIFIER, **told, "state_dict": state}, temporary)


def describe(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint is: arch, classes, imgsz, activation, preparation; read without unpickling.

    Raises:
        InputError: no classifier's checkpoint, or a damaged one.
    """
    told = payload(Path(checkpoint))
    parameters = sum(t.numel() for t in told.pop("state_dict").values())
    return {**told, "classes": list(told["names"]), "parameters": parameters}


def payload(path: Path) -> dict[str, Any]:
    """Everything in a checkpoint, its tensors included.

    Raises:
        InputError: no classifier's checkpoint, or a damaged one.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    if checkpoint_kind(path) != "deploytk-classifier":
        raise InputError(f"{path}: no classifier of deploytk; give the model.pt of a run")
    told = _tensors(path)
    if told.get("format") != CLASSIFIER:
        raise InputError(f"{path}: its format is not {CLASSIFIER}")
    return told


def rebuild(told: dict[str, Any]) -> nn.Module:
    """The network of a checkpoint's payload: float32, eval.

    Raises:
        InputError: the tensors are not those of the network it names.
    """
    model = network.build(
        told["arch"], len(told["names"]), told["activation"], told["negative_slope"], imgsz=told["imgsz"]
    )
    try:
        model.load_state_dict(told["state_dict"])
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise InputError(f"its tensors are not those of {told['arch']}: {said}; train again") from error
    return model.float().eval()


def take_weights(model: nn.Module, path: Path) -> dict[str, Any]:
    """Which of a file's tensors became the network's: those of the same name and shape (a new head keeps its own).

    Raises:
        InputError: the file cannot be read without running code, or nothing in it fits.
    """
    given = load_file(path) if path.suffix == ".safetensors" else _tensors(path)
    given = given.get("state_dict", given)
    own = model.state_dict()
    fits = {name: t for name, t in given.items() if name in own and own[name].shape == t.shape}
    if not fits:
        raise InputError(f"model.pretrained: {path}: none of its {len(given)} tensors fits the network")
    model.load_state_dict(fits, strict=False)
    return {"path": str(path), "taken": len(fits), "of": len(own), "left": sorted(set(own) - set(fits))[:8]}


def _tensors(path: Path) -> dict[str, Any]:
    try:
        told = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged file makes it stumble over
        said = str(error).splitlines()
        raise InputError(f"{path}: damaged ({said[0] if said else type(error).__name__}); train again") from error
    if not isinstance(told, dict):
        raise InputError(f"{path}: holds no named tensors")
    return dict(told)
