"""Which activation each module of a detector has: set, counted and asserted by name (torch).

All convolutions of Ultralytics share one activation object, so counting modules finds one. Here each module gets an
object of its own, and the audit walks every name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from deploytk.backends.activation_modules import KINDS, new, told
from deploytk.backends.ultralytics.library import Conv, ConvTranspose, RepConv
from deploytk.errors import RuleFailed
from deploytk.profile import SECTIONS, ActivationKind, Section

#: Modules under `.act` that are no activation.
_PASSIVE = (nn.Identity,)
#: Any of these counts, wherever it stands, even though deploytk sets only the five above.
_ACTIVATIONS = (
    *KINDS, nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.RReLU,
    nn.SELU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Threshold,
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """One activation: where it stands and what it is."""

    section: Section
    name: str  # model.22.cv3.0.0.act
    kind: str  # relu, leaky_relu(0.1), ... or the class of one that deploytk does not set


def section_of(name: str, backbone: int, layers: int) -> Section:
    """The section that a module belongs to: `model.4.m.0.cv1.act` is in layer 4."""
    found = re.match(r"model\.(\d+)(\.|$)", name)
    layer = int(found.group(1)) if found else layers - 1
    if layer < backbone:
        return "backbone"
    return "head" if layer >= layers - 1 else "neck"


def apply(model: nn.Module, backbone: int, kinds: Mapping[Section, ActivationKind], slope: float) -> None:
    """Give each activation of `model` (a DetectionModel) a module of its own, of its section's kind."""
    layers = len(model.model)
    for parent_name, parent in list(model.named_modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, _ACTIVATIONS):
                section = section_of(f"{parent_name}.{name}", backbone, layers)
                setattr(parent, name, new(kinds[section], slope))


def audit(model: nn.Module, backbone: int) -> list[Found]:
    """Every activation of `model`, by name: one entry per place, also where places share an object."""
    layers = len(model.model)
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _ACTIVATIONS):
            found[name] = module
        elif isinstance(getattr(module, "act", None), nn.Module) and not isinstance(module.act, _PASSIVE):
            found[f"{name}.act"] = module.act
    return [Found(section_of(name, backbone, layers), name, told(module)) for name, module in found.items()]


def counts(found: list[Found]) -> dict[str, dict[str, int]]:
    """How many of each kind stand in each section."""
    return {s: dict(Counter(f.kind for f in found if f.section == s)) for s in SECTIONS}


def require(
    model: nn.Module, backbone: int, kinds: Mapping[Section, ActivationKind], slope: float, where: str
) -> dict[str, dict[str, int]]:
    """How many of each kind stand in each section, where all are what the profile asks for.

    Raises:
        RuleFailed: a module has another activation (each is named), or a section has none at all.
    """
    found = audit(model, backbone)
    wanted = {s: told(new(kind, slope)) for s, kind in kinds.items()}
    reasons = [
        f"{where}: {f.name} ({f.section}): {f.kind} instead of {wanted[f.section]}"
        for f in found
        if f.kind != wanted[f.section]
    ]
    present = {f.section for f in found}
    reasons += [f"{where}: no activation at all in the {s}" for s in SECTIONS if s not in present]
    if reasons:
        more = f" (and {len(reasons) - 12} more)" if len(reasons) > 12 else ""
        raise RuleFailed("; ".join(reasons[:12]) + more, reasons=tuple(reasons))
    return counts(found)


@contextmanager
def default_kept() -> Iterator[None]:
    """Inside, new modules begin with SiLU; afterwards the process-wide defaults are what they were, come what may."""
    owners = (Conv, ConvTranspose, RepConv)
    before = [owner.default_act for owner in owners]
    try:
        for owner in owners:
            owner.default_act = nn.SiLU()
        yield
    finally:
        for owner, act in zip(owners, before, strict=True):
            owner.default_act = act
