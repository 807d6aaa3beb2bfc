"""The proofs of an export: activation contract, agreement with the source, task metric, NPU placement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploytk.artifact import Artifact, sidecar
from deploytk.budget import Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_OVER_BUDGET, EXIT_PARITY, EXIT_PASS, EXIT_RULE
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report

#: A float conversion below this is a wrong conversion, not rounding: measured 79-92 dB (research/npu.md, section 5).
FLOAT_SQNR_DB = 40.0

#: The metric that decides; the others are reported.
METRIC = "mAP50"

#: Which exit code wins when several things are wrong.
_ORDER = (EXIT_RULE, EXIT_PARITY, EXIT_OVER_BUDGET, EXIT_INCONCLUSIVE)


def kept(artifact: Artifact, **facts: Any) -> Artifact:
    """`artifact` with more facts in its settings, written to the lineage beside it."""
    proved = replace(artifact, settings={**artifact.settings, **facts})
    write_json(sidecar(artifact.path), proved.as_dict())
    return proved


class Checks:
    """What was checked in one export, and what it adds up to."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.findings: list[Finding] = []
        self.codes: list[int] = []
        self.good: list[str] = []
        self.bad: list[str] = []
        self.parity: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []
        self.assessment: dict[str, Any] = {}

    def contract(self, artifact: Artifact, where: str) -> None:
        """Every section of this graph has the activation that the profile asks for."""
        from deploytk.stages.check import contract_of

        counts, findings = contract_of(artifact.path, self.profile)
        wrong = [f for f in findings if f.severity == "error"]
        self.stages.append({"where": where, "sections": counts, "ok": not wrong})
        self.findings += findings
        if wrong:
            self._fails(EXIT_RULE, *(f"{where}: {f}" for f in wrong))

    def agreement(self, artifact: Artifact, source: Artifact, limit_db: float | None) -> None:
        """The outputs are the source's, within rounding for a float model; only reported for INT8."""
        found = artifact.settings["agreement"]
        row = {"what": artifact.path.name, "metric": "SQNR dB", "source": source.path.name}
        if "error" in found:
            self._fails(EXIT_PARITY, f"{artifact.path.name} does not do what the trained model does: {found['error']}")
            self.parity.append({**row, "converted": found["error"], "drop": None, "ok": False})
            return
        good = limit_db is None or found["sqnr_db"] >= limit_db
        self.parity.append({**row, "converted": round(found["sqnr_db"], 1), "drop": None, "ok": good})
        if not good:
            self._fails(
                EXIT_PARITY,
                f"{artifact.path.name}: outputs differ from the trained model: SQNR {found['sqnr_db']:.1f} dB, "
                f"at least {limit_db:g} dB expected of a float conversion",
            )

    def metric(self, artifact: Artifact, source: Artifact) -> None:
        """The task metric is the source's, less at most what the budget allows."""
        before, after = source.metrics.get(METRIC, 0.0), artifact.metrics.get(METRIC, 0.0)
        allowed, drop = self.profile.budget.max_accuracy_drop, before - after
        good = drop <= allowed
        row = {"what": artifact.path.name, "metric": METRIC, "source": before, "converted": after, "drop": drop}
        self.parity.append({**row, "ok": good})
        if not good:
            self._fails(
                EXIT_PARITY,
                f"{artifact.path.name}: {METRIC} fell from {before:.3f} to {after:.3f}; {allowed:.3f} is allowed "
                "(budget.max_accuracy_drop)",
            )
        elif before <= allowed:
            self._fails(
                EXIT_INCONCLUSIVE,
                f"{artifact.path.name}: the trained model's own {METRIC} is {before:.3f}, so a loss of accuracy "
                "cannot be seen; train longer",
            )

    def placement(self, assessment: dict[str, Any]) -> None:
        """The graph is on the NPU, fits its SRAM, and scores at least what the profile asks for."""
        self.assessment = assessment
        found = [Finding(**f) for f in assessment["findings"]]
        self.findings += found
        wrong = [str(f) for f in found if f.severity == "error"]
        export = self.profile.export
        if assessment["cpu_ops"] > export.max_cpu_ops:
            wrong.append(
                f"{assessment['cpu_ops']} of {assessment['cpu_ops'] + assessment['npu_ops']} operators stay on the CPU "
                f"({export.max_cpu_ops} allowed)"
            )
        if assessment["ethos_score"] < export.min_score:
            wrong.append(
                f"Ethos score {assessment['ethos_score']:.1f} is under {export.min_score:g} (export.min_score)"
            )
        if wrong:
            self._fails(EXIT_RULE, *dict.fromkeys(wrong))
            return
        self.good.append(
            f"Ethos score {assessment['ethos_score']:.1f} on {assessment['accelerator']}: {assessment['npu_ops']} of "
            f"{assessment['npu_ops'] + assessment['cpu_ops']} operators on the NPU, "
            f"{assessment['time_ms']:.2f} ms (estimated)"
        )

    def report(self, command: str, artifact: Artifact, chain: tuple[Artifact, ...], skipped: dict[str, bool]) -> Report:
        """The report of these checks."""
        code = next((c for c in _ORDER if c in self.codes), EXIT_PASS)
        status: Any = {EXIT_PASS: "pass", EXIT_INCONCLUSIVE: "inconclusive"}.get(code, "fail")
        metrics = ", ".join(f"{a.path.name} {a.metrics[METRIC]:.3f}" for a in chain if METRIC in a.metrics)
        good = [*self.good, f"{METRIC}: {metrics}", "the activation contract holds in every graph"]
        sections: dict[str, Any] = {
            "contract": {"expected": self.profile.model.activation.expected(), "stages": self.stages},
            "parity": self.parity,
            "skipped": skipped,
        }
        if self.assessment:
            sections["npu"] = self.assessment
        return Report(
            command=command,
            title=self.profile.name,
            verdict=Verdict(status=status, reasons=tuple(self.bad or good)),
            exit_code=code,
            artifact=artifact,
            chain=chain,
            findings=tuple(self.findings),
            budget=self.profile.budget,
            machine=Machine.this(),
            versions=artifact.versions,
            sections=sections,
        )

    def _fails(self, code: int, *reasons: str) -> None:
        self.codes.append(code)
        self.bad += reasons
