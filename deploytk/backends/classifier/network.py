"""A network of timm with the activation that the profile asks for (torch, timm)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import timm
from timm.layers import activations as timm_activations
from torch import nn

from deploytk.backends import activation_modules
from deploytk.errors import InputError, RuleFailed
from deploytk.profile import ActivationKind

#: What is an activation between layers. Sigmoid and Hardsigmoid are none: they are the gates of squeeze and excite.
_ACTIVATIONS = (
    *activation_modules.KINDS, nn.CELU, nn.ELU, nn.GELU, nn.Mish, nn.PReLU, nn.SELU, nn.Softplus, nn.Tanh,
    timm_activations.GELU, timm_activations.GELUTanh, timm_activations.QuickGELU, timm_activations.Swish,
    timm_activations.HardSwish, timm_activations.HardMish, timm_activations.Mish, timm_activations.PReLU,
    timm_activations.Tanh,
)  # fmt: skip


def build(
    arch: str, classes: int, kind: ActivationKind, slope: float = 0.1, *, dropout: float = 0.0, imgsz: int | None = None
) -> nn.Module:
    """A new network with random weights whose activations are all of one kind, each a module of its own.

    Args:
        dropout: before the last layer.
        imgsz: for networks whose weights depend on it (transformers); others take any size.

    Raises:
        InputError: timm has no such network, or it cannot be built so.
    """
    try:
        model = _created(arch, classes, dropout, imgsz)
    except Exception as error:  # whatever an architecture stumbles over, it is a matter of the profile
        said = str(error).splitlines()
        raise InputError(f"model.arch: {arch} cannot be built ({said[0] if said else type(error).__name__})") from error
    for parent, name, _ in list(_found(model)):
        setattr(parent, name, activation_modules.new(kind, slope))
    return model


def _created(arch: str, classes: int, dropout: float, imgsz: int | None) -> nn.Module:
    settings: dict[str, Any] = {"num_classes": classes, "drop_rate": dropout, "pretrained": False}
    try:
        made: nn.Module = timm.create_model(arch, img_size=imgsz, **settings)
    except TypeError:  # most networks take no img_size
        made = timm.create_model(arch, **settings)
    return made


def _found(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(the module it stands in, its name there, the activation), each."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, _ACTIVATIONS) and "gate" not in name:
                yield parent, name, child


def require(model: nn.Module, kind: ActivationKind, slope: float, where: str) -> dict[str, dict[str, int]]:
    """How many activations of each kind there are, where all are of the kind that the profile asks for.

    Raises:
        RuleFailed: one is another, or there is none at all.
    """
    counts = Counter(activation_modules.told(found) for _, _, found in _found(model))
    wanted = activation_modules.told(activation_modules.new(kind, slope))
    if set(counts) != {wanted}:
        found = ", ".join(f"{count} x {name}" for name, count in counts.items()) or "none"
        raise RuleFailed(f"{where}: activations are {found} instead of {wanted} throughout")
    return {"network": dict(counts)}


def sections(model: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of the head and those of everything before it."""
    head = [p for p in model.get_classifier().parameters() if p.requires_grad]
    own = {id(p) for p in head}
    return [head, [p for p in model.parameters() if p.requires_grad and id(p) not in own]]


def modules(model: nn.Module) -> dict[str, list[str]]:
    """The names that the tensors of the backbone and of the head begin with."""
    last = model.get_classifier()
    head = next(name for name, module in model.named_modules() if module is last)
    return {"backbone": [name for name, _ in model.named_children() if name != head.split(".")[0]], "head": [head]}
