"""A pipeline of two models from its data to a verdict: both trained, exported, joined, compared with torch, benched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact, stage_key
from deploytk.batches import may_go_between, parse_batches
from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_PASS, InputError
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.profile import PART_NAMES, Profile
from deploytk.report import Finding, Report
from deploytk.report.loading import report_from
from deploytk.stages import bench_pipeline, export_pipeline, train_parts
from deploytk.stages.bench_pipeline import Asked
from deploytk.stages.evaluate import Against, evaluate
from deploytk.stages.train_begin import How
from deploytk.stages.train_parts import Listeners, nobody
from deploytk.worker import Listener

Say = Callable[[str], None]


def run(
    profile: Profile,
    out: Path,
    *,
    say: Say,
    listen: Listener | None = None,
    listeners: Listeners = nobody,
    how: How = "auto",
) -> Report:
    """The one report of a pipeline, whose verdict is about the whole; what is unchanged is not done again.

    Raises:
        DeploytkError: a stage could not be finished; what was finished stays and is not done again.
    """
    export_pipeline.require_target(profile)
    say(f"train: {profile.name} ({', '.join(PART_NAMES)})")
    trained = train_parts.train(profile, out, listeners, how=how)
    say("\n".join(trained.verdict.reasons))
    say(f"export: {profile.part('detector').export.target}")
    exported = export_pipeline.export(out, profile, listen)
    if exported.artifact is None:
        return _merged(profile, trained, exported, [])
    say("evaluate: the whole, beside torch")
    judged = [_evaluated(profile, out, exported.artifact, listen)]
    say(f"bench: batches {profile.bench.batches}")
    judged.append(_benched(profile, out, exported.artifact, listen))
    return _merged(profile, trained, exported, judged)


def _evaluated(profile: Profile, out: Path, made: Artifact, listen: Listener | None) -> Report:
    """The accuracy of the whole on the detector's images, beside the trained models."""
    data = profile.part("detector").data.path
    settings = {"data": str(data), "allowed": profile.budget.max_accuracy_drop}

    def measured() -> Report:
        against = Against(detector=out / "detector", classifier=out / "classifier")
        try:
            return evaluate(
                made.path, Path(str(data)), against=against, max_drop=profile.budget.max_accuracy_drop, listen=listen
            )
        except InputError as error:
            return _not_comparable(profile, made, error)

    return _once(out / "evaluate.json", "evaluate", made, settings, measured)


def _not_comparable(profile: Profile, made: Artifact, error: InputError) -> Report:
    """Where the detector's labels are not the classifier's names, each model was judged by its own data only."""
    message = f"how right the whole is was not measured: {error.message}"
    finding = Finding(rule="PIP001", severity="warning", where="pipeline", message=message)
    return Report(
        command="evaluate",
        title=profile.name,
        verdict=Verdict(status="pass", reasons=(message,)),
        exit_code=EXIT_PASS,
        artifact=made,
        findings=(finding,),
    )


def _benched(profile: Profile, out: Path, made: Artifact, listen: Listener | None) -> Report:
    machine = Machine.this()
    settings = {
        "bench": profile.bench.model_dump(),
        "budget": profile.budget.model_dump(),
        "images": str(profile.part("detector").data.path),
        "machine": [machine.cpu, machine.cores],
    }
    folder = out / "bench" / "pipeline"
    asked = Asked(
        images=[str(profile.part("detector").data.path)],
        batches=parse_batches(profile.bench.batches),
        may_go_between=may_go_between(profile.bench.batches),
        threads=profile.bench.threads,
        time_limit_s=profile.bench.time_limit_s,
        require=profile.bench.require,
    )
    budget = profile.budget.model_copy(update={"boundary": "end_to_end"})
    return _once(
        folder / "bench.json",
        "bench",
        made,
        settings,
        lambda: bench_pipeline.bench(made.path, asked, budget=budget, out=folder, listen=listen),
    )


def _once(kept: Path, stage: str, made: Artifact, settings: dict[str, Any], measured: Callable[[], Report]) -> Report:
    """The report kept under the same key, or a new one, kept."""
    key = stage_key(stage, [made.sha256], settings, made.versions)
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))
        if told["key"] == key:
            return report_from(told["report"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    report = measured()
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"key": key, "report": report.as_dict()})
    return report


def _merged(profile: Profile, trained: Report, exported: Report, judged: list[Report]) -> Report:
    """One report of all stages: whatever is wrong first decides."""
    parts = [exported, *judged]
    code = next((r.exit_code for r in parts if r.exit_code), EXIT_PASS)
    deciding = [r for r in parts if r.exit_code] or parts
    status: Status = "pass" if code == EXIT_PASS else deciding[0].verdict.status
    return Report(
        command="run",
        title=profile.name,
        verdict=Verdict(status=status, reasons=tuple(s for r in deciding for s in r.verdict.reasons)),
        exit_code=code,
        artifact=exported.artifact,
        chain=exported.chain,
        findings=(*trained.findings, *(f for r in parts for f in r.findings)),
        measurements=tuple(m for r in judged for m in r.measurements),
        budget=profile.budget,
        machine=Machine.this(),
        versions={name: version for r in (trained, exported, *judged) for name, version in r.versions.items()},
        sections={name: of for r in (trained, exported, *judged) for name, of in r.sections.items()},
    )
