"""The activation contract: what activations a graph has, against what the profile asks of each section.

ACT001  error    a section has another activation than the profile asks for
ACT002  error    a graph with convolutions in which no activation is found at all
ACT003  error    an Identity stands where an activation is expected
ACT004  error    a LeakyReLU has another slope than the profile asks for
ACT005  error    a section that must have an activation has none
ACT006  warning  the sections cannot be told apart; the activations were compared without them
ACT007  warning  (no profile) activations that cost extra cycles on Ethos-U
ACT008  info     (no profile) more than one kind of activation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deploytk.report import Finding, Severity

Kind = Literal[
    "relu", "relu6", "leaky_relu", "prelu", "clip", "silu", "hardswish", "gelu", "mish", "elu", "selu", "softplus",
    "tanh", "identity",
]  # fmt: skip

#: Kinds that are clamps fused into the convolution on Ethos-U: 0 cycles. All others are a lookup table or more
#: (measured on U55-256, YOLOv8n: LeakyReLU +9 %, HardSwish +9 %, SiLU +37 %).
FREE_ON_ETHOS_U = frozenset({"relu", "relu6", "clip", "identity"})
#: How many nodes a message names; the report's data names them all.
_NAMED = 3
#: The slope after INT8 conversion and float32 rounding is this close to the slope that was asked for.
_SLOPE_TOLERANCE = 1e-3
#: How the whole is called where it has no sections, or they cannot be told.
UNTOLD = "network"


@dataclass(frozen=True, kw_only=True)
class Activation:
    """One activation in a graph."""

    kind: Kind
    node: str
    section: str = ""  # backbone, neck, head; "" where it cannot be told
    slope: float | None = None  # of leaky_relu, below zero


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a profile asks for: the kind of each section, and LeakyReLU's slope."""

    sections: Mapping[str, str]
    slope: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The activations of one graph, compared with what was asked for (`expected` None: only reported)."""

    where: str  # the file
    found: Sequence[Activation]
    convolutions: int
    expected: Expected | None = None

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many activations of each kind each section has; "network" where sections cannot be told."""
        counts: dict[str, Counter[str]] = {}
        for a in self.found:
            counts.setdefault(a.section or UNTOLD, Counter())[a.kind] += 1
        order = {"backbone": 0, "neck": 1, "head": 2}
        return {s: dict(counts[s]) for s in sorted(counts, key=lambda s: order.get(s, 3))}

    @property
    def offenders(self) -> list[Activation]:
        """Each activation that is not what the profile asks for."""
        return [a for a in self.found if self.expected is not None and self._wrong(a)]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, or worth knowing."""
        if not any(a.kind != "identity" for a in self.found):
            return self._nothing_found()
        return tuple(self._compared() if self.expected else self._described())

    @property
    def broken(self) -> bool:
        """Whether a rule failed."""
        return any(f.severity == "error" for f in self.findings)

    @property
    def summary(self) -> str:
        """What was found, in a few words: `activations: backbone 27 relu, head 12 silu`."""
        told = [f"{s} " + ", ".join(f"{n} {k}" for k, n in kinds.items()) for s, kinds in self.counts.items()]
        return "activations: " + ("; ".join(told) or "none, and no convolutions")

    def as_dict(self) -> dict[str, Any]:
        """The contract as JSON-like values: counts, and every offending node."""
        return {
            "where": self.where,
            "sections": self.counts,
            "convolutions": self.convolutions,
            "ok": False if self.broken else None if self.expected is None else True,
            "offenders": [
                {"node": a.node, "section": a.section, "kind": a.kind, "slope": a.slope} for a in self.offenders
            ],
        }

    def _nothing_found(self) -> tuple[Finding, ...]:
        if not self.convolutions and self.expected is None:
            return ()
        return (
            _finding(
                "ACT002",
                "error",
                self.where,
                f"no activation found in {self.convolutions} convolutions",
                "a contract on nothing proves nothing: check that this is the whole network",
            ),
        )

    def _kind_asked(self, section: str) -> str:
        assert self.expected is not None
        return self.expected.sections.get(section, "")

    def _wrong(self, a: Activation) -> bool:
        assert self.expected is not None
        allowed = {self._kind_asked(a.section)} if a.section else set(self.expected.sections.values())
        if a.kind not in allowed:
            return True
        return a.kind == "leaky_relu" and not self._slope_right(a)

    def _slope_right(self, a: Activation) -> bool:
        return self.expected is None or a.slope is None or abs(a.slope - self.expected.slope) <= _SLOPE_TOLERANCE

    def _compared(self) -> list[Finding]:
        assert self.expected is not None
        found = self._untold()
        for section in dict.fromkeys(a.section for a in self.found):
            found += self._section(section)
        told = {a.section for a in self.found if a.kind != "identity"}
        if "" not in told:
            lost = [s for s in self.expected.sections if s not in told]
            found += [self._error("ACT005", s, f"no activation found, {self._kind_asked(s)} asked for") for s in lost]
        return found

    def _untold(self) -> list[Finding]:
        assert self.expected is not None
        count = sum(1 for a in self.found if not a.section)
        if not count or len(set(self.expected.sections.values())) == 1:
            return []
        kinds = " or ".join(sorted(set(self.expected.sections.values())))
        message = f"the section of {count} of {len(self.found)} activations cannot be told: each must be {kinds}"
        return [_finding("ACT006", "warning", self.where, message, "check the ONNX, whose nodes carry module names")]

    def _section(self, section: str) -> list[Finding]:
        assert self.expected is not None
        here = [a for a in self.found if a.section == section]
        wrong = [a for a in here if self._wrong(a)]
        name = section or UNTOLD
        asked = self._kind_asked(section) or " or ".join(sorted(set(self.expected.sections.values())))
        found = []
        for kind in sorted({a.kind for a in wrong}):
            these = [a for a in wrong if a.kind == kind]
            share = f"{len(these)} of {len(here)} activations"
            if kind == "identity":
                message = f"{share} are Identity instead of {asked}: {_names(these)}"
                found.append(self._error("ACT003", name, message))
            elif kind == "leaky_relu" and all(not self._slope_right(a) for a in these) and "leaky_relu" in asked:
                slopes = ", ".join(sorted({f"{a.slope:g}" for a in these if a.slope is not None}))
                message = f"{share} are leaky_relu with slope {slopes} instead of {self.expected.slope:g}"
                found.append(self._error("ACT004", name, f"{message}: {_names(these)}"))
            else:
                found.append(self._error("ACT001", name, f"{share} are {kind} instead of {asked}: {_names(these)}"))
        return found

    def _error(self, rule: str, section: str, message: str) -> Finding:
        fix = "train with this profile and check model.pt first: deploytk train --profile NAME"
        return _finding(rule, "error", section, message, fix)

    def _described(self) -> list[Finding]:
        kinds = Counter(a.kind for a in self.found if a.kind != "identity")
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        costly = [a for a in self.found if a.kind not in FREE_ON_ETHOS_U]
        found = []
        if costly:
            names = sorted({a.kind for a in costly})
            message = f"{', '.join(names)} cost extra cycles on Ethos-U: {_names(costly)}"
            fix = "train with ReLU (deploytk train --profile npu-level4-relu)"
            found.append(_finding("ACT007", "warning", self.where, message, fix))
        if len(kinds) > 1:
            found.append(_finding("ACT008", "info", self.where, f"more than one kind of activation: {told}"))
        return found


def _names(found: Sequence[Activation]) -> str:
    named = ", ".join(a.node for a in found[:_NAMED])
    more = len(found) - _NAMED
    return named + (f" and {more} more" if more > 0 else "")


def _finding(rule: str, severity: Severity, where: str, message: str, fix: str = "") -> Finding:
    return Finding(rule=rule, severity=severity, where=where, message=message, fix=fix)
