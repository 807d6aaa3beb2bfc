"""A suite: several models on several runtimes, each benched alone, in one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deploytk import plugins, resources, strict_yaml
from deploytk.batches import may_go_between, parse_batches
from deploytk.budget import Budget, Status, Verdict
from deploytk.errors import DeploytkError, InputError
from deploytk.measurement import Machine
from deploytk.report import Finding, Report
from deploytk.stages.bench import bench
from deploytk.worker import Listener

Say = Callable[[str], None]

_WORDS = strict_yaml.Words(
    what="suite", malformed="no readable YAML", unknown="unknown key {path}", missing="Field required"
)


class Entry(BaseModel):
    """One model of a suite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path = Field(description="the model file; a relative path begins at the current folder")
    runtimes: tuple[str, ...] = Field((), description="onnx, openvino, litert ...; without any the format's own")
    options: dict[str, str] = Field(default_factory=dict, description="of the runtime")
    samples: Path | None = Field(None, description=".npz of real inputs")


class Suite(BaseModel):
    """What `deploytk bench --suite` measures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    budget: Budget = Budget()
    batches: str = "1"
    threads: int | Literal["auto"] | None = None
    time_limit_s: float = Field(60.0, gt=0, description="for each model on each runtime")
    entries: tuple[Entry, ...] = Field(min_length=1)

    @field_validator("batches")
    @classmethod
    def _batches(cls, batches: str) -> str:
        try:
            parse_batches(batches)
        except InputError as error:
            raise ValueError(error.message) from error
        return batches


def load(name: str) -> Suite:
    """The suite of a YAML file, or the shipped one of that name.

    Raises:
        InputError: no such suite, no YAML, or a key or value that is wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else resources.folder("bench/suites") / f"{name}.yaml"
    if not path.is_file():
        shipped = sorted(p.stem for p in resources.folder("bench/suites").glob("*.yaml"))
        raise InputError(plugins.unknown("suite", name, shipped))
    return strict_yaml.read(Suite, path, _WORDS)


def suite(wanted: Suite, out: Path, *, say: Say, listen: Listener | None = None) -> Report:
    """One report: the rows of every model on every runtime. What cannot be run is a failed row, not the end."""
    reports: list[Report] = []
    failed: list[Finding] = []
    for number, (entry, runtime) in enumerate((e, r) for e in wanted.entries for r in (e.runtimes or (None,))):
        label = f"{entry.model.name} {runtime or ''}".strip()
        say(f"bench {label}")
        try:
            reports.append(_benched(wanted, entry, runtime, out / f"{number}-{entry.model.stem}", listen))
        except DeploytkError as error:
            say(f"  {error.message}")
            fix = "see what is wrong with this entry, or take it out of the suite"
            failed.append(Finding(rule="BEN002", severity="error", where=label, message=error.message, fix=fix))
    return _merged(wanted, reports, failed)


def _benched(wanted: Suite, entry: Entry, runtime: str | None, out: Path, listen: Listener | None) -> Report:
    return bench(
        entry.model,
        budget=wanted.budget,
        batches=parse_batches(wanted.batches),
        may_go_between=may_go_between(wanted.batches),
        runtime=runtime,
        threads=wanted.threads,
        options=entry.options,
        time_limit_s=wanted.time_limit_s,
        feeds=entry.samples,
        out=out,
        listen=listen,
    )


def _merged(wanted: Suite, reports: list[Report], failed: list[Finding]) -> Report:
    told = [{"artifact": _label(r), "verdict": r.verdict.status, "reasons": list(r.verdict.reasons)} for r in reports]
    statuses = {r.verdict.status for r in reports}
    status: Status = (
        "fail" if failed or "fail" in statuses else "inconclusive" if "inconclusive" in statuses else "pass"
    )
    reasons = [f"{t['artifact']}: {t['verdict']}: {t['reasons'][0]}" for t in told]
    reasons += [f"{f.where}: could not be measured: {f.message}" for f in failed]
    verdict = Verdict(status=status, reasons=tuple(reasons))
    artifacts = {r.artifact.sha256: r.artifact for r in reports if r.artifact}
    return Report(
        command="bench --suite",
        title=wanted.title,
        verdict=verdict,
        exit_code=verdict.exit_code,
        chain=tuple(artifacts.values()),
        findings=(*failed, *(f for r in reports for f in r.findings)),
        measurements=tuple(m for r in reports for m in r.measurements),
        budget=wanted.budget,
        machine=Machine.this(),
        versions={name: version for r in reports for name, version in r.versions.items()},
        sections={
            "bench": {
                "rows": [
                    {"artifact": r.artifact.path.name, **row}
                    for r in reports
                    if r.artifact
                    for row in r.sections["bench"]["rows"]
                ],
                "verdicts": told,
                "boundary": wanted.budget.boundary,
            }
        },
    )


def _label(report: Report) -> str:
    rows = report.sections["bench"]["rows"]
    return f"{report.title} {rows[0]['runtime'] if rows else ''}".strip()
