"""Activations as torch modules, by the names that profiles use (torch)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from deploytk.profile import ActivationKind

KINDS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.Hardswish: "hardswish",
    nn.SiLU: "silu",
}


def new(kind: ActivationKind, slope: float, *, inplace: bool = True) -> nn.Module:
    """A new activation module of this kind."""
    made: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.ReLU(inplace=inplace),
        "relu6": lambda: nn.ReLU6(inplace=inplace),
        "leaky_relu": lambda: nn.LeakyReLU(slope, inplace=inplace),
        "hardswish": lambda: nn.Hardswish(inplace=inplace),
        "silu": lambda: nn.SiLU(inplace=inplace),
    }
    return made[kind]()


def told(module: nn.Module) -> str:
    """What an activation module is, in the words of a profile; the class name for any other."""
    kind = KINDS.get(type(module))
    if kind == "leaky_relu":
        return f"leaky_relu({module.negative_slope:g})"
    return kind or type(module).__name__
