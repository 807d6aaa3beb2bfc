"""Check a model file or a run folder: what it is, its activation contract, and where an NPU would run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploytk.artifact import Artifact, sidecar, versions_of
from deploytk.budget import Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_RULE, InputError
from deploytk.graphs.identify import Kind, identify, require_model
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.profile_loading import load_npu
from deploytk.report import Finding, Report
from deploytk.rules.activations import Contract
from deploytk.stages import check_placement
from deploytk.stages.check_contract import contract_of, expected, of_checkpoint, of_graph
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import log_folder

__all__ = ["check", "contract_of"]

DEFAULT_NPU = "ethos-u55-256"


def check(
    model: Path,
    *,
    profile: Profile | None = None,
    npu: dict[str, Any] | None = None,
    trust: bool = False,
    out: Path | None = None,
) -> Report:
    """The report on a model file or run folder; nothing of it is changed.

    An INT8 .tflite is compiled, which proves its placement. For ONNX, placement is predicted by rules; where that (or
    a checkpoint) is all there is and placement was asked for, the verdict is inconclusive.

    Args:
        profile: whose activations are asked for; without one they are reported. A run folder has its own.
        npu: the fields of `profile.Npu` to place the model on; the profile's, or U55-256, where it is None. With a
            profile and without `npu`, placement decides for .tflite files only.
        trust: open a foreign Ultralytics checkpoint, which unpickles it.
        out: folder for the logs and the compiled model; a temporary one where it is None.

    Raises:
        InputError: no model, a damaged one, one that Vela has compiled already, a pickle that may not be opened.
    """
    kind = identify(model)
    if kind.name != "run":
        kind = require_model(model)
    elif profile is None:
        profile = RunFolder(model).profile()
    with log_folder(out, "check") as folder:
        checked = _Checked(profile=profile, asked=npu is not None or profile is None, npu=_npu(npu, profile))
        checked.trust, checked.folder = trust, folder
        checked.run(model) if kind.name == "run" else checked.file(kind)
        return checked.report(model, kind)


def _npu(npu: dict[str, Any] | None, profile: Profile | None) -> dict[str, Any]:
    return npu or load_npu(profile.export.npu if profile else DEFAULT_NPU).model_dump(mode="json")


@dataclass(kw_only=True)
class _Checked:
    """What was checked so far, and what it adds up to."""

    profile: Profile | None
    asked: bool  # whether placement is part of the question
    npu: dict[str, Any]
    trust: bool = False
    folder: Path = Path()
    contracts: list[Contract] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    assessment: dict[str, Any] = field(default_factory=dict)
    prediction: dict[str, Any] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def file(self, kind: Kind) -> None:
        """Check one model file."""
        {"torch": self._checkpoint, "onnx": self._onnx}.get(kind.name, self._tflite)(kind.path)

    def run(self, folder: Path) -> None:
        """Check the model of a run and everything that was made from it."""
        run = RunFolder(folder)
        if not run.model.is_file():
            raise InputError(
                f"{folder}: training has not finished here (no model.pt); go on with: deploytk train or run"
            )
        if sidecar(run.model).is_file():
            Artifact.load(run.model)  # raises where the file is no longer the one that was trained
        self._contract(of_checkpoint(run.model, self.profile, trust=False, logs=self.logs))
        for path in sorted([*(folder / "export").rglob("*.onnx"), *(folder / "export").rglob("*.tflite")]):
            if path.name.startswith("."):
                continue  # of an export that is still running
            kind = require_model(path)
            if kind.name != "vela-tflite":
                self._contract(of_graph(path, kind.name, self.profile))
        int8 = run.npu / "model_int8.tflite"
        if int8.is_file():
            self._place(int8)
        elif self.profile is not None and self.profile.export.target == "npu":
            self.unproven.append(
                "no INT8 model yet, so its NPU placement is not proven; deploytk export RUN --target npu"
            )

    def _checkpoint(self, path: Path) -> None:
        self._contract(of_checkpoint(path, self.profile, trust=self.trust, logs=self.logs))
        if self.asked:
            self.unproven.append(
                "a checkpoint has no NPU placement; export it with: deploytk export RUN --target npu, and check that"
            )

    def _tflite(self, path: Path) -> None:
        self._place(path)
        self._contract(of_graph(path, "tflite", self.profile))

    def _onnx(self, path: Path) -> None:
        self._contract(of_graph(path, "onnx", self.profile))
        findings, lost, total, int8 = check_placement.predicted(path, self.npu)
        self.findings += findings if self.asked else check_placement.as_warnings(findings)
        self.prediction = {
            "kind": "predicted", "accelerator": self.npu["accelerator"], "nodes": total, "cpu_nodes": lost,
            "int8": int8,
        }  # fmt: skip
        share = f"{total - lost} of {total} operators on {self.npu['accelerator']}"
        if not self.asked:
            self.good.append(f"NPU placement was not asked for (--npu); predicted by rules: {share}")
            return
        what = "an INT8 (QDQ) ONNX" if int8 else "a float ONNX"
        if lost > self._max_cpu_ops:
            self.bad.append(
                f"{lost} of {total} operators are predicted to stay on the CPU of {self.npu['accelerator']} "
                f"({self._max_cpu_ops} allowed)"
            )
            self.bad += [f"{f.rule}: {f}" for f in findings]
        self.unproven.append(
            f"{what} is not an NPU model by itself: placement is predicted by rules ({share}); "
            f"compile to prove it: deploytk export RUN --target npu"
        )

    def _contract(self, contract: Contract) -> None:
        self.contracts.append(contract)
        self.findings += contract.findings
        wrong = [f"{contract.where}: {f}" for f in contract.findings if f.severity == "error"]
        self.bad += wrong
        if not wrong and self.profile is not None:
            self.good.append(f"{contract.where}: the activation contract of {self.profile.name} holds")
        elif not wrong:
            self.good.append(f"{contract.where}: {contract.summary}")

    def _place(self, path: Path) -> None:
        self.assessment = check_placement.of_tflite(path, self.npu, out=self.folder / "npu", logs=self.logs)
        self.findings += [Finding(**f) for f in self.assessment["findings"]]
        min_score = self.profile.export.min_score if self.profile else 0.0
        good, bad = check_placement.judge(self.assessment, max_cpu_ops=self._max_cpu_ops, min_score=min_score)
        self.good += good
        self.bad += bad

    @property
    def _max_cpu_ops(self) -> int:
        return self.profile.export.max_cpu_ops if self.profile else 0

    def report(self, model: Path, kind: Kind) -> Report:
        """The report of all that was checked."""
        status: Literal["pass", "fail", "inconclusive"] = "pass"
        if self.bad:
            status, reasons = "fail", [*self.bad, *(self.unproven if kind.name == "onnx" else ())]
        elif self.unproven:
            status, reasons = "inconclusive", [*self.unproven, *self.good]
        else:
            reasons = self.good
        return Report(
            command="check",
            title=model.name,
            verdict=Verdict(status=status, reasons=tuple(dict.fromkeys(reasons))),
            exit_code={"pass": EXIT_PASS, "fail": EXIT_RULE, "inconclusive": EXIT_INCONCLUSIVE}[status],
            artifact=_artifact(model, kind),
            findings=tuple(dict.fromkeys(self.findings)),
            machine=Machine.this(),
            versions=versions_of("deploytk", "ethos-u-vela", "onnx", "ai-edge-litert"),
            sections=self._sections(),
        )

    def _sections(self) -> dict[str, Any]:
        wanted = expected(self.profile)
        contract: dict[str, Any] = {"stages": [c.as_dict() for c in self.contracts]}
        if wanted is not None:
            contract["expected"] = dict(wanted.sections)
        found = {"contract": contract, "npu": self.assessment, "prediction": self.prediction}
        return {name: value for name, value in found.items() if value}


def _artifact(model: Path, kind: Kind) -> Artifact:
    format = {"torch": "pt", "run": "pt"}.get(kind.name, kind.name)
    return Artifact.given(model / "model.pt" if kind.name == "run" else model, format)
