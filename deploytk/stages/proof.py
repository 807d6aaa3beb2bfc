"""The proofs of an export: activation contract, agreement with the source, task metric, NPU placement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploytk import plugins
from deploytk.artifact import Artifact, sidecar
from deploytk.budget import Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_MISSING, EXIT_OVER_BUDGET, EXIT_PARITY, EXIT_PASS, EXIT_RULE
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report
from deploytk.stages import parity_verdict
from deploytk.stages.check_contract import contract_of, expected
from deploytk.stages.check_placement import judge
from deploytk.stages.parity_limits import LIMITS

#: Which exit code wins when several things are wrong.
_ORDER = (EXIT_RULE, EXIT_PARITY, EXIT_OVER_BUDGET, EXIT_MISSING, EXIT_INCONCLUSIVE)


def kept(artifact: Artifact, **facts: Any) -> Artifact:
    """`artifact` with more facts in its settings, written to the lineage beside it."""
    proved = replace(artifact, settings={**artifact.settings, **facts})
    write_json(sidecar(artifact.path), proved.as_dict())
    return proved


class Checks:
    """What was checked in one export, and what it adds up to."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        #: The metric that decides; the others are reported.
        self.decides: str = plugins.load("backends", profile.backend).METRIC
        self.findings: list[Finding] = []
        self.codes: list[int] = []
        self.good: list[str] = []
        self.bad: list[str] = []
        self.parity: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []
        self.assessment: dict[str, Any] = {}
        self.climbed: dict[str, Any] = {}
        self.engine: dict[str, Any] = {}

    def contract(self, artifact: Artifact, where: str) -> None:
        """Every section of this graph has the activation that the profile asks for."""
        counts, findings = contract_of(artifact.path, self.profile)
        wrong = [f for f in findings if f.severity == "error"]
        self.stages.append({"where": where, "sections": counts, "ok": not wrong})
        self.findings += findings
        if wrong:
            self._fails(EXIT_RULE, *(f"{where}: {f}" for f in wrong))

    def agreement(self, artifact: Artifact, source: Artifact) -> None:
        """The outputs are the source's, within what the precision allows (`parity_limits`).

        How far INT8 is off is only reported, as the task metric decides; an output that cannot be right fails.
        """
        found, names = artifact.settings["agreement"], (source.path.name, artifact.path.name)
        binding = LIMITS[found["precision"]].binding
        for told in parity_verdict.summed(found):
            broken = not told["ok"] and told["converted"] is None
            ok = told["ok"] if binding or broken else None
            self.parity.append({"what": names[1], "drop": None, **told, "ok": ok})
        wrong = parity_verdict.wrong(found, *names, binding=binding)
        if wrong:
            self._fails(EXIT_PARITY, *wrong)

    def metric(self, artifact: Artifact, source: Artifact) -> None:
        """The task metric is the source's, less at most what the budget allows."""
        before, after = source.metrics.get(self.decides, 0.0), artifact.metrics.get(self.decides, 0.0)
        allowed, drop = self.profile.budget.max_accuracy_drop, before - after
        good = drop <= allowed
        row = {"what": artifact.path.name, "metric": self.decides, "source": before, "converted": after, "drop": drop}
        self.parity.append({**row, "ok": good})
        if not good:
            self._fails(
                EXIT_PARITY,
                f"{artifact.path.name}: {self.decides} fell from {before:.3f} to {after:.3f}; {allowed:.3f} is allowed "
                "(budget.max_accuracy_drop)",
            )
        elif before <= allowed:
            self._fails(
                EXIT_INCONCLUSIVE,
                f"{artifact.path.name}: the trained model's own {self.decides} is {before:.3f}, so a loss of accuracy "
                "cannot be seen; train longer",
            )

    def same_boxes(self, deployed: Artifact, source: Artifact) -> None:
        """The graph with preparation and suppression inside finds the boxes that the host's way finds."""
        found = deployed.settings["same_boxes"]
        apart = found["lost"] + found["added"]
        row = {"what": deployed.path.name, "metric": f"boxes in {found['images']} images", "source": found["boxes"]}
        self.parity.append({**row, "converted": found["boxes_deployed"], "drop": None, "ok": not apart})
        if apart:
            self._fails(
                EXIT_PARITY,
                f"{deployed.path.name}: {found['lost']} boxes of {source.path.name} prepared and suppressed by the "
                f"host are not found by the graph, and {found['added']} others are",
            )
        elif not found["boxes"]:
            self._fails(
                EXIT_INCONCLUSIVE,
                f"{deployed.path.name}: {source.path.name} finds no boxes in {found['images']} validation images, so "
                "it cannot be seen that the graph finds the same; train longer",
            )

    def placement(self, assessment: dict[str, Any]) -> None:
        """The graph is on the NPU, fits its SRAM, and scores at least what the profile asks for."""
        self.assessment = assessment
        self.findings += [Finding(**f) for f in assessment["findings"]]
        export = self.profile.export
        good, wrong = judge(assessment, max_cpu_ops=export.max_cpu_ops, min_score=export.min_score)
        self.good += good
        if wrong:
            self._fails(EXIT_RULE, *wrong)

    def ladder(self, told: dict[str, Any]) -> None:
        """One of the INT8 models that were tried keeps the accuracy and is not slower than float."""
        self.climbed = told
        tried = [f"{a['what']}: {a['outcome']}: {a['reason']}" for a in told["attempts"]]
        if told["attempts"][-1]["outcome"] == "met":
            self.good.append(f"INT8 for {told['target']}: {tried[-1]}")
            return
        summary = f"no INT8 model for {told['target']} is good enough; tried: {len(tried)}"
        self._fails(EXIT_PARITY, summary, *tried)

    def unseen(self, reason: str) -> None:
        """What was made could not be run, as there is no device for it here."""
        self._fails(EXIT_MISSING, reason)

    def slower(self, reason: str) -> None:
        """The INT8 model is slower than the float one on its own device."""
        self._fails(EXIT_PARITY, reason)

    def report(self, command: str, artifact: Artifact, chain: tuple[Artifact, ...], skipped: dict[str, bool]) -> Report:
        """The report of these checks."""
        code = next((c for c in _ORDER if c in self.codes), EXIT_PASS)
        open_codes = dict.fromkeys((EXIT_INCONCLUSIVE, EXIT_MISSING), "inconclusive")
        status: Any = {EXIT_PASS: "pass", **open_codes}.get(code, "fail")
        measured = [a for a in chain if self.decides in a.metrics]
        metrics = ", ".join(f"{a.path.name} {a.metrics[self.decides]:.3f}" for a in measured)
        good = [*self.good, f"{self.decides}: {metrics}", "the activation contract holds in every graph"]
        asked = expected(self.profile)
        sections: dict[str, Any] = {
            "contract": {"expected": dict(asked.sections) if asked else {}, "stages": self.stages},
            "parity": self.parity,
            "skipped": skipped,
        }
        if self.assessment:
            sections["npu"] = self.assessment
        if self.climbed:
            sections["ladder"] = self.climbed
        if self.engine:
            sections["engine"] = self.engine
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
