"""The activations of a PyTorch checkpoint, found in a child process: the one place that may unpickle, with --trust."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from deploytk import plugins
from deploytk.errors import InputError
from deploytk.graphs import pickles
from deploytk.rules import activations_torch
from deploytk.rules.activations import Activation

#: Any multiple of the largest stride will do: activations do not depend on the size of the image.
_SHAPE = (1, 3, 64, 64)


def audit(checkpoint: str, trust: bool) -> dict[str, Any]:
    """{activations, convolutions, how} of a deploytk or (with `trust`) Ultralytics checkpoint.

    What forward calls (torch.export) counts, and each Identity in place of an activation, which only a walk shows.
    Where forward cannot be exported, the walk over the modules alone counts.

    Raises:
        InputError: a checkpoint that may not or cannot be opened.
    """
    path = Path(checkpoint)
    kind = pickles.require_loadable(path, trust=trust)
    whose = pickles.BACKENDS.get(kind)
    module = plugins.load("backends", whose).torch_module(path) if whose else _foreign(path)
    walked = activations_torch.find(module)
    found, how = _called(module, walked)
    return {
        "activations": [asdict(a) for a in found],
        "convolutions": activations_torch.convolutions(module),
        "how": how,
    }


def _called(module: torch.nn.Module, walked: list[Activation]) -> tuple[list[Activation], str]:
    try:
        called = activations_torch.find_called(module, _SHAPE)
    except Exception as error:  # of any kind: torch.export refuses what it cannot trace
        print(f"torch.export: {type(error).__name__}: {error}")
        return walked, "modules"
    return called + [a for a in walked if a.kind == "identity"], "forward"


def _foreign(path: Path) -> torch.nn.Module:
    """The model in a pickled Ultralytics checkpoint that the user trusts."""
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "1"  # no eval() of an activation's name
    plugins.import_or_explain("ultralytics")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever a damaged or old pickle raises
        raise InputError(f"{path}: cannot be opened by this version of Ultralytics ({error})") from error
    module = loaded.get("ema") or loaded.get("model") if isinstance(loaded, dict) else loaded
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path}: holds no model; give the .pt that Ultralytics saved at the end of training")
    return module.float().eval()
