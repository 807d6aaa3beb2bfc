"""A shop that invents what it makes and measures, for stories about the search and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.errors import DeploytkError
from deploytk.stages.optimize_candidates import Candidate, Made, Setting, Timing, Variant, Wanted

KNOWN = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "fp16", "int8"), "npu": ("int8",)}


def wanted(**more: Any) -> Wanted:
    """50 ms, one point of mAP50, ONNX and OpenVINO in float and INT8 at 320 px."""
    usual: dict[str, Any] = {
        "budget": Budget(latency_ms=50.0),
        "allowed": 0.01,
        "targets": ["onnx", "openvino"],
        "precisions": ["fp32", "int8"],
        "sizes": [320],
        "batches": [1],
        "threads": "auto",
        "time_limit_s": 1200.0,
        "imgsz": 320,
        "metric": "mAP50",
    }
    return Wanted(**{**usual, **more})


@dataclass
class FakeShop:
    """By `target precision size px`: ms of a call, metric, or the error it ends with; `done` is what it was asked."""

    ms: dict[str, float] = field(default_factory=dict)
    metric: dict[str, float] = field(default_factory=dict)
    size_metric: dict[int, float] = field(default_factory=dict)
    error: dict[str, DeploytkError] = field(default_factory=dict)
    missed: dict[str, float] = field(default_factory=dict)  # INT8 that the ladder gave up, with its metric
    busy: bool = False
    undecided: frozenset[str] = frozenset()
    step_s: float = 0.0
    spent_s: float = 0.0
    done: list[str] = field(default_factory=list)
    allowed: dict[str, float] = field(default_factory=dict)
    limit_s: dict[str, float | None] = field(default_factory=dict)

    def look(self, target: str, imgsz: int, batch: int) -> float | None:
        self._spend(f"look {target} {imgsz}")
        if self.busy:
            return None
        return self.ms[f"{target} fp32 {imgsz} px"] * batch

    def trained_metric(self, imgsz: int) -> float:
        self._spend(f"trained {imgsz}")
        return self.size_metric.get(imgsz, 0.8)

    def make(self, variant: Variant, allowed: float, limit_s: float | None) -> Made:
        self._spend(f"make {variant.name}")
        self.allowed[variant.name], self.limit_s[variant.name] = allowed, limit_s
        if variant.name in self.error:
            raise self.error[variant.name]
        if variant.name in self.missed:
            reason = "the best of 9 INT8 attempts lost too much"
            return Made(artifact=None, metric=self.missed[variant.name], reason=reason, p50_ms=8.0)
        path = Path(f"{variant.name}.onnx")
        artifact = Artifact(
            path=path, format="onnx", precision=variant.precision, sha256=variant.name, made_by="export"
        )
        metric = self.metric.get(variant.name, self.size_metric.get(variant.imgsz, 0.8))
        return Made(artifact=artifact, metric=metric, size_bytes=1000)

    def estimate(self, candidate: Candidate) -> Timing:
        ms = self.ms[candidate.variant.name]
        status: Any = "pass" if ms < 50 else "fail"
        verdict = Verdict(status=status, reasons=(f"Vela estimates {ms:g} ms.",))
        return Timing(p50_ms=ms, judged_ms=ms, kind="estimated", verdict=verdict)

    def settings(self, target: str) -> list[Setting]:
        return [Setting(threads=1), Setting(threads=2)] if target == "openvino" else []

    def time(self, candidate: Candidate) -> Timing:
        self._spend(f"time {candidate.name}")
        ms = self._ms(candidate)
        return Timing(p50_ms=ms, judged_ms=1.1 * ms)

    def final(self, default: Candidate, rivals: Sequence[Candidate], limit_s: float) -> list[Timing]:  # noqa: ARG002
        self._spend(f"final {', '.join(c.name for c in (default, *rivals))}")
        first = self._ms(default) / default.batch
        fastest = min(self._ms(c) / c.batch for c in (default, *rivals))
        return [self._final(c, first, fastest) for c in (default, *rivals)]

    def _final(self, candidate: Candidate, first: float, fastest: float) -> Timing:
        ms = self._ms(candidate)
        status: Any = "pass" if 1.1 * ms < 50 else "fail"
        if candidate.variant.name in self.undecided:
            status = "inconclusive"
        ratio = ms / candidate.batch / first
        word = "faster" if ratio < 0.95 else "slower" if ratio > 1.05 else "undecided"
        return Timing(
            p50_ms=ms,
            judged_ms=1.1 * ms,
            kind="final",
            verdict=Verdict(status=status, reasons=(f"p95 is {1.1 * ms:.3g} ms.",)),
            ratio=ratio,
            low=0.98 * ratio,
            high=1.02 * ratio,
            word=word,
            tied=ms / candidate.batch <= 1.03 * fastest,
        )

    def _ms(self, candidate: Candidate) -> float:
        return self.ms[candidate.variant.name] * candidate.batch * (0.9 if candidate.setting.threads == 2 else 1.0)

    def _spend(self, what: str) -> None:
        self.done.append(what)
        self.spent_s += self.step_s
