"""What a command found: findings, measurements, artifacts and a verdict, as one value with many renderings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.measurement import Machine, Measurement

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a rule has to say: what was found, where, and what to do next."""

    rule: str  # "ACT001", "EU003"
    severity: Severity
    where: str  # node, section, file or line
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole result of one command.

    `sections` holds what only some commands have, as JSON-like values: "train", "npu", "parity", "bench", "contract".
    """

    command: str
    verdict: Verdict
    exit_code: int
    title: str = ""
    artifact: Artifact | None = None
    chain: tuple[Artifact, ...] = ()
    findings: tuple[Finding, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    budget: Budget | None = None
    machine: Machine | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-like values: the document that `--json` prints and `report.json` holds."""
        return {
            "command": self.command,
            "title": self.title,
            "verdict": self.verdict.status,
            "exit_code": self.exit_code,
            "reasons": list(self.verdict.reasons),
            "artifact": self.artifact.as_dict() if self.artifact else None,
            "chain": [a.as_dict() for a in self.chain],
            "findings": [asdict(f) for f in self.findings],
            "measurements": [m.as_dict() for m in self.measurements],
            "budget": self.budget.model_dump() if self.budget else None,
            "machine": asdict(self.machine) if self.machine else None,
            "versions": dict(self.versions),
            "sections": dict(self.sections),
        }
