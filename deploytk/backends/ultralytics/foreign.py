"""A pickled Ultralytics detector that the user trusts, as our payload (torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk.backends.ultralytics import checkpoint, network
from deploytk.backends.ultralytics.library import Detect
from deploytk.errors import InputError, ParityFailed


def payload_of(path: Path) -> dict[str, Any]:
    """The payload of a foreign checkpoint. Unpickles it: only for files whose globals were looked at before.

    Raises:
        InputError: no detector of a known architecture.
    """
    model = unpickled(path)
    args: Any = getattr(model, "args", {})
    imgsz = args.get("imgsz", 640) if isinstance(args, dict) else getattr(args, "imgsz", 640)
    names = model.names.values() if isinstance(model.names, dict) else model.names
    reasons = []
    for arch in network.ARCHS:
        try:
            return _matched(path, model, arch, imgsz=int(imgsz), names=[str(n) for n in names])
        except (InputError, ParityFailed) as error:
            reasons.append(f"{arch}: {error.message}")
    raise InputError(f"{path}: not a detector that deploytk can rebuild: {'; '.join(reasons)}")


def unpickled(path: Path) -> nn.Module:
    """The detector in a trusted pickle: float32, eval.

    Raises:
        InputError: it holds no plain detector.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever a damaged or old pickle raises
        raise InputError(f"{path}: cannot be opened by this version of Ultralytics ({error})") from error
    model = (held.get("ema") or held.get("model")) if isinstance(held, dict) else held
    if not isinstance(model, nn.Module) or not hasattr(model, "model") or type(model.model[-1]) is not Detect:
        raise InputError(f"{path}: holds no plain Ultralytics detector")
    return model.float().eval()


def _matched(path: Path, model: nn.Module, arch: str, *, imgsz: int, names: list[str]) -> dict[str, Any]:
    scale = str(model.yaml.get("scale") or "")
    told = checkpoint.pack(model, arch=arch, scale=scale, imgsz=imgsz, names=names, adopted_from=path.name)
    checkpoint.same_outputs(model, checkpoint.rebuild(told), f"{arch}{scale} rebuilt")
    return told
