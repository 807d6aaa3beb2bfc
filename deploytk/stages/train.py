"""Train the model of a profile: preflight, the segments one after the other, the artifact with its lineage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, finished
from deploytk.budget import Verdict
from deploytk.errors import InputError, MissingDependency, RuleFailed, StepFailed, TrainingFailed
from deploytk.files import plain, write_json
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report
from deploytk.stages import train_begin, train_errors
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train_begin import How
from deploytk.stages.train_child import Child
from deploytk.stages.train_settings import Settings
from deploytk.training import aftermath, deaths, sinks
from deploytk.training.preflight import quick
from deploytk.training.state import Folder, State
from deploytk.training.supervisor import Job, supervise
from deploytk.worker import Listener

#: The finding of a backend whose model finds nothing at all after training.
NOTHING_LEARNED = "TRN001"
_ALREADY = "finished, all epochs were there"


def train(
    profile: Profile, out: Path, listen: Listener | None = None, *, how: How = "auto", already: str = _ALREADY
) -> Report:
    """The report of a finished training; skipped, saying so, when the same training already stands in `out`.

    Args:
        how: auto goes on with an unfinished training of the same settings; resume also with a failed or a finished
            one, to more epochs; restart removes the old one once the preflight has passed.
        already: what the report says where no epoch was left to train.

    Raises:
        InputError: the preflight found an error, or another training stands in `out`; nothing was started or written.
        MissingDependency: the same, and one of the errors is a library that is not installed.
        TrainingFailed: training ended without a usable model.
    """
    backend = plugins.load("backends", profile.backend)
    findings = preflight(profile, out, backend)
    run, wanted = RunFolder(out), Settings.of(profile, backend)
    train_begin.refuse_own_weights(profile, run)
    made = None if how == "restart" else finished(run.model, wanted.artifact_key)
    if made is None or how == "resume":
        train_begin.require_same(run, wanted, how)
    if made is not None:
        run.save_profile(profile)
        return _report(profile, made, run, findings, how_trained="unchanged, not trained again", skipped=True)
    with run.alone(), _disk_full_told(profile, run):
        train_begin.require_same(run, wanted, how)
        made, how_trained = _trained(profile, run, wanted, how, listen, findings)
        how_trained = how_trained or already
    return _report(profile, made, run, findings, how_trained=how_trained, skipped=False)


def preflight(profile: Profile, out: Path, backend: ModuleType) -> list[Finding]:
    """What is to be said before a training, none of it an error: the quick rules first, then data and libraries.

    Raises:
        InputError, MissingDependency: what is an error.
    """
    findings = [*quick(profile, out, backend), *sinks.preflight(profile.track)]
    _refuse(findings)
    findings += backend.preflight(profile)
    _refuse(findings)
    return findings


def _refuse(findings: Sequence[Finding]) -> None:
    refused = tuple(str(f) for f in findings if f.severity == "error")
    if refused:
        missing = any(f.rule == "PRE001" for f in findings)
        raise (MissingDependency if missing else InputError)("\n".join(refused), reasons=refused)


def take_on(
    profile: Profile, run: RunFolder, wanted: Settings, until: int, *, how: How = "auto", listen: Listener | None = None
) -> State:
    """The state of a training that was taken on to an epoch; "done" where none is left to train. No model is made yet.

    The preflight is the caller's.

    Raises:
        InputError: another training stands in the run folder; nothing was started or written.
        TrainingFailed: training ended without a usable model.
    """
    with run.alone(), _disk_full_told(profile, run):
        train_begin.require_same(run, wanted, how)
        return _supervised(profile, run, wanted, how, listen, until=until)[0]


def _trained(
    profile: Profile, run: RunFolder, wanted: Settings, how: How, listen: Listener | None, findings: Sequence[Finding]
) -> tuple[Artifact, str]:
    """(the trained model, how it came about: "trained", "resumed at epoch 7", nothing where no epoch was left)."""
    state, before = _supervised(profile, run, wanted, how, listen, findings)
    made = _finished(profile, run, wanted, state, listen)
    new = state.steps[before:]
    resumed = f"resumed at epoch {new[0].segment.first_epoch}" if before and new else ""
    return made, resumed or ("" if before else "trained")


def _supervised(
    profile: Profile,
    run: RunFolder,
    wanted: Settings,
    how: How,
    listen: Listener | None,
    findings: Sequence[Finding] = (),
    *,
    until: int | None = None,
) -> tuple[State, int]:
    """(how it ended or paused, how many segments there were before).

    Raises:
        TrainingFailed: it ended without a usable model.
    """
    patience = how == "resume" and train_begin.more_patience(run, wanted)
    state = train_begin.begun(run, wanted, how)
    run.save_profile(profile)
    before = len(state.steps)
    with sinks.told_too(profile, run.path, listen) as heard:
        child = Child(profile, run, heard)
        job = Job(profile=profile, folder=child.folder, launch=child, tell=child.ear.tell, until=until)
        plan = train_begin.plan(job, run, state, how, more_patience=patience)
        for finding in findings:
            if finding.severity == "warning" and not before:
                job.tell("warning", reason=str(finding))  # now, not when the night is over
        try:
            state = supervise(job, state, plan)
        except (RuleFailed, MissingDependency, InputError) as refused:
            train_errors.refused(run, profile, refused)
            raise
    if state.status == "failed":
        if len(state.steps) > before:  # else it is told again, and is drawn already
            train_errors.draw(run, profile)
        raise train_errors.failed(run, profile, state)
    return state, before


@contextmanager
def _disk_full_told(profile: Profile, run: RunFolder) -> Iterator[None]:
    """Say what is kept where the disk is too full for what is written in the block."""
    try:
        yield
    except OSError as error:
        if not deaths.says_disk_full(str(error), run.path, 0):
            raise
        raise train_errors.disk_full(run, profile, str(error)) from error


def _finished(profile: Profile, run: RunFolder, wanted: Settings, state: State, listen: Listener | None) -> Artifact:
    """The model made from the best checkpoint, with its lineage and its summary."""
    try:
        summary = _called(profile, run, listen)
    except TrainingFailed as error:
        told = replace(state, status="failed", reason=error.message)
        told.write(Folder(run=run.path))
        raise train_errors.failed(run, profile, told) from error
    summary |= {"ended": state.reason, **aftermath.told(state, Folder(run=run.path), profile.train.device)}
    write_json(run.path / "training_summary.json", plain(summary))
    return Artifact.record(
        run.model,
        format="transformers" if profile.text else "pt",
        precision=summary.get("precision", "fp32"),
        made_by="train",
        key=wanted.artifact_key,
        settings=wanted.all,
        versions=wanted.versions,
        metrics={k: v for k, v in summary["metrics"].items() if isinstance(v, int | float)},
    )


def _called(profile: Profile, run: RunFolder, listen: Listener | None) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = worker.call(
            "deploytk.stages.steps:finish_training",
            {"profile": profile.model_dump(mode="json", by_alias=True), "run": str(run.path)},
            logs=run.logs,
            name="train_finish",
            timeout_s=profile.train.timeout_s,
            listen=listen,
        )
    except StepFailed as error:
        if deaths.says_disk_full(error.cause, run.path, 1 << 20):
            raise train_errors.disk_full(run, profile, error.cause) from error
        raise
    return summary


def _report(
    profile: Profile, made: Artifact, run: RunFolder, findings: list[Finding], *, how_trained: str, skipped: bool
) -> Report:
    summary = json.loads((run.path / "training_summary.json").read_text(encoding="utf-8"))
    findings = [*findings, *(Finding(**f) for f in summary.get("findings", ()))]
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in made.metrics.items())
    early = f" ({summary['ended']})" if "stopped early" in summary.get("ended", "") else ""
    reason = f"{profile.name}: {how_trained}: {len(summary.get('epochs', ()))} epochs{early}, {metrics}"
    # Weights that are finite but find nothing are no success, and after a few epochs no failure either.
    unlearned = tuple(f.message for f in findings if f.rule == NOTHING_LEARNED)
    verdict = Verdict(status="inconclusive" if unlearned else "pass", reasons=(*unlearned, *_troubles(summary), reason))
    return Report(
        command="train",
        title=profile.name,
        verdict=verdict,
        exit_code=verdict.exit_code,
        artifact=made,
        chain=(made,),
        findings=tuple(findings),
        machine=Machine.this(),
        versions=made.versions,
        sections={"train": summary, "skipped": {"train": skipped}},
    )


def _troubles(summary: dict[str, Any]) -> list[str]:
    """What went wrong on the way to a model all the same."""
    attempts = summary.get("attempts", 1)
    if attempts == 1:
        return []
    gone_wrong = [r for r in summary["timeline"] if r["ended"] not in {"done", "early_stop", "rule"}]
    told = [f"segment {r['segment']} (epochs {r['epochs']}): {r['ended']}: {r['reason']}" for r in gone_wrong]
    return [f"trained in {attempts} attempts", *told]
