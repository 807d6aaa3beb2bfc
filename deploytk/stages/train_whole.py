"""Training for a backend that does not train in segments yet: the whole of it in one child process, unguarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.budget import Verdict
from deploytk.errors import InputError, MissingDependency
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener

#: The finding of a backend whose model finds nothing at all after training.
NOTHING_LEARNED = "TRN001"


def train(profile: Profile, out: Path, listen: Listener | None = None, *, anew: bool = False) -> Report:
    """The report of a finished training; skipped, saying so, when the same training already stands in `out`.

    Args:
        anew: train also then.

    Raises:
        InputError: the preflight found an error; nothing was started or written.
        MissingDependency: the same, and one of the errors is a library that is not installed.
        TrainingFailed: training ended without a usable model.
    """
    backend = plugins.load("backends", profile.backend)
    findings = list(backend.preflight(profile))
    refused = (*unheard(profile), *(str(f) for f in findings if f.severity == "error"))
    if refused:
        missing = any(f.rule == "PRE001" for f in findings)
        raise (MissingDependency if missing else InputError)("\n".join(refused), reasons=refused)
    run = RunFolder(out)
    versions = versions_of("deploytk", *backend.DISTRIBUTIONS)
    settings = training_settings(profile)
    key = stage_key("train", [backend.data_fingerprint(profile)], settings, versions)
    made = None if anew else finished(run.model, key)
    if made is None:
        with run.alone():
            made = _train(profile, run, key=key, settings=settings, versions=versions, listen=listen)
        skipped = False
    else:
        skipped = True
        run.save_profile(profile)
    summary = json.loads((run.path / "training_summary.json").read_text(encoding="utf-8"))
    findings += [Finding(**f) for f in summary.get("findings", ())]
    return _report(profile, made, summary, findings, skipped=skipped)


def unheard(profile: Profile) -> tuple[str, ...]:
    """What the profile asks for and this backend would not do, a sentence each."""
    plain = Profile(name=profile.name)
    asked = [f"train.{n}" for n in _NEW if getattr(profile.train, n) != getattr(plain.train, n)]
    asked += [n for n in ("guard", "limits", "keep", "milestones", "rules") if getattr(profile, n) != getattr(plain, n)]
    return tuple(
        f"{name}: the backend {profile.backend} cannot do this yet; remove it from the profile" for name in asked
    )


_NEW = ("precision", "clip_norm", "ema", "label_smoothing", "rdrop", "dropout", "layer_lr", "resize")


def training_settings(profile: Profile) -> dict[str, Any]:
    """Everything of a profile that shapes the trained weights."""
    train = profile.train.model_dump(mode="json", exclude={"timeout_s", "workers"})
    return {"backend": profile.backend, "model": profile.model.model_dump(mode="json"), "train": train}


def _train(
    profile: Profile,
    run: RunFolder,
    *,
    key: str,
    settings: dict[str, Any],
    versions: dict[str, str],
    listen: Listener | None,
) -> Artifact:
    run.save_profile(profile)
    kwargs = {"profile": profile.model_dump(mode="json", by_alias=True), "run": str(run.path)}
    summary = worker.call(
        "deploytk.stages.steps:train_whole",
        kwargs,
        logs=run.logs,
        name="train",
        timeout_s=profile.train.timeout_s,
        listen=listen,
    )
    write_json(run.path / "training_summary.json", summary)
    return Artifact.record(
        run.model,
        format="pt",
        precision="fp32",
        made_by="train",
        key=key,
        settings=settings,
        versions=versions,
        metrics={k: v for k, v in summary["metrics"].items() if isinstance(v, int | float)},
    )


def _report(
    profile: Profile, made: Artifact, summary: dict[str, Any], findings: list[Finding], *, skipped: bool
) -> Report:
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in made.metrics.items())
    how = "unchanged, not trained again" if skipped else "trained"
    reason = f"{profile.name}: {how}: {len(summary.get('epochs', ()))} epochs, {metrics}"
    # Weights that are finite but find nothing are no success, and after a few epochs no failure either.
    unlearned = tuple(f.message for f in findings if f.rule == NOTHING_LEARNED)
    verdict = Verdict(status="inconclusive" if unlearned else "pass", reasons=(*unlearned, reason))
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
