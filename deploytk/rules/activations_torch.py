"""The activations of a torch module: a walk over its submodules, and what its forward really calls (torch.export).

The walk counts every place, not every object: Ultralytics shares one activation object among all convolutions, and
`named_modules()` without `remove_duplicate=False` shows it once. The exported graph shows functional calls, which no
walk sees, and leaves out modules that forward never calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from deploytk.graphs import sections
from deploytk.rules.activations import Activation, Kind

_MODULES: dict[type[nn.Module], Kind] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.LeakyReLU: "leaky_relu", nn.PReLU: "prelu", nn.SiLU: "silu",
    nn.Hardswish: "hardswish", nn.GELU: "gelu", nn.Mish: "mish", nn.ELU: "elu", nn.SELU: "selu",
    nn.Softplus: "softplus", nn.Hardtanh: "clip", nn.Tanh: "tanh",
}  # fmt: skip
#: The aten operator behind each activation, as torch.export shows it; `_` at the end is the in-place one.
_CALLS: dict[str, Kind] = {
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "prelu": "prelu", "_prelu_kernel": "prelu",
    "silu": "silu", "hardswish": "hardswish", "gelu": "gelu", "mish": "mish", "elu": "elu", "selu": "selu",
    "hardtanh": "clip", "celu": "elu",
}  # fmt: skip
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
#: Blocks whose inner convolutions have no activation by design (attention, and branches that are added up first).
_LINEAR_BY_DESIGN = frozenset({
    "Attention", "AAttn", "PSABlock", "ABlock", "RepConv", "RepVGGDW", "SCDown", "PSA", "CIB", "SPPF", "DFL",
    "BatchNormAct2d",  # timm's: where the block ends without an activation, its `act` is an Identity
})  # fmt: skip


def find(module: nn.Module) -> list[Activation]:
    """Every activation by a walk over the submodules, in their order; Identity where an `.act` should compute."""
    section = _sections(module)
    return [
        Activation(kind=kind, node=name, section=section(name), slope=_slope(part))
        for name, part in module.named_modules(remove_duplicate=False)
        if (kind := _kind(module, name, part)) is not None
    ]


def find_called(module: nn.Module, shape: tuple[int, ...]) -> list[Activation]:
    """Every activation that forward really calls on an input of this shape, functional ones too (torch.export)."""
    section = _sections(module)
    with torch.no_grad():
        exported = torch.export.export(module.eval(), (torch.zeros(shape),), strict=False)
    return [
        Activation(kind=kind, node=path or node.name, section=section(path), slope=slope)
        for node, path, kind, slope in _called(exported.graph.nodes)
    ]


def convolutions(module: nn.Module) -> int:
    """How many convolutions and linear layers the module has."""
    return sum(isinstance(part, _CONVOLUTIONS) for _, part in module.named_modules(remove_duplicate=False))


def _kind(module: nn.Module, name: str, part: nn.Module) -> Kind | None:
    if isinstance(part, nn.Identity):
        return "identity" if name.endswith(".act") and not _linear_by_design(module, name) else None
    for known, kind in _MODULES.items():
        if type(part) is known:
            return kind
    return None


def _linear_by_design(module: nn.Module, name: str) -> bool:
    parents = name.split(".")[:-1]
    paths = (".".join(parents[:end]) for end in range(1, len(parents) + 1))
    return any(type(module.get_submodule(path)).__name__ in _LINEAR_BY_DESIGN for path in paths)


def _slope(part: nn.Module) -> float | None:
    return float(part.negative_slope) if isinstance(part, nn.LeakyReLU) else None


def _sections(module: nn.Module) -> Any:
    """A function from a module's name to its section, by the numbers of the layers in `model.N`."""
    names = [name for name, _ in module.named_modules(remove_duplicate=False)]
    numbers = [n for name in names if (n := sections.layer(name)) is not None]
    upsamples = (name for name, part in module.named_modules() if isinstance(part, nn.Upsample))
    first = next((n for name in upsamples if (n := sections.layer(name)) is not None), None)
    if first is None:
        return lambda _: sections.UNKNOWN
    return lambda name: sections.by_layer(sections.layer(name), first, max(numbers))


def _called(nodes: Any) -> Iterator[tuple[Any, str, Kind, float | None]]:
    """(node, path of the module it stands in, kind, slope) of each activation in an exported graph."""
    for node in nodes:
        if node.op != "call_function":
            continue
        path = _path(node)
        name = re.sub(r"_$", "", getattr(getattr(node.target, "_schema", None), "name", "").removeprefix("aten::"))
        kind = _CALLS.get(name)
        if name == "mul" and _is_silu(node):
            kind = "silu"
        if name == "hardtanh" and tuple(node.args[1:3]) == (0.0, 6.0):
            kind = "relu6"
        if kind is not None:
            slope = float(node.args[1]) if kind == "leaky_relu" and len(node.args) > 1 else None
            yield node, path, kind, 0.01 if kind == "leaky_relu" and slope is None else slope


def _is_silu(node: Any) -> bool:
    """Whether a product is x * sigmoid(x), written out."""
    a, b = node.args[0], node.args[1]
    return any(
        hasattr(g, "target") and "sigmoid" in str(g.target) and len(g.args) == 1 and g.args[0] is x
        for x, g in ((a, b), (b, a))
    )


def _path(node: Any) -> str:
    """The qualified name of the innermost module that made the call.

    A module that stands in several places is told by the last part of its name only ("act"): the parts are joined.
    """
    path = ""
    for name, _ in (node.meta.get("nn_module_stack") or {}).values():
        path = name if not path or name.startswith(path) else f"{path}.{name}"
    return path
