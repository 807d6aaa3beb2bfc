"""A text model from its data to a verdict: trained, exported and proved, benched; what is unchanged is skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploytk.artifact import Artifact, stage_key
from deploytk.batches import may_go_between, parse_batches
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages import bench_text, export_text, kept
from deploytk.stages.bench_text import Asked
from deploytk.stages.merged import merged
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train import train
from deploytk.stages.train_begin import How
from deploytk.text import pairs
from deploytk.worker import Listener

Say = Callable[[str], None]


def run(profile: Profile, out: Path, *, say: Say, listen: Listener | None = None, how: How = "auto") -> Report:
    """The one report of a text model, whose verdict is about what is deployed.

    Raises:
        DeploytkError: a stage could not be finished; what was finished stays and is not done again.
    """
    export_text.require(profile)
    say(f"train: {profile.name}")
    trained = train(profile, out, listen, how=how)
    say(trained.verdict.reasons[-1])
    return after_training(profile, out, trained, say=say, listen=listen)


def after_training(profile: Profile, out: Path, trained: Report, *, say: Say, listen: Listener | None = None) -> Report:
    """The same of a model that is trained: export and bench.

    Raises:
        DeploytkError: a stage could not be finished.
    """
    say(f"export: {profile.name} as {profile.export.target} {profile.export.precision or 'fp32'}")
    exported = export_text.export(RunFolder(out), profile, listen)
    if exported.exit_code or exported.artifact is None:
        return merged(profile, [trained, exported], made=exported)
    benched = _benched(profile, out, exported.artifact, say, listen)
    return merged(profile, [trained, exported, benched], made=exported)


def _benched(profile: Profile, out: Path, made: Artifact, say: Say, listen: Listener | None) -> Report:
    """The bench of the deployed model; the kept one where nothing that shapes it has changed."""
    folder, machine = out / "bench" / made.path.name, Machine.this()
    settings = {
        "bench": profile.bench.model_dump(),
        "budget": profile.budget.model_dump(),
        "data": pairs.read(profile).fingerprint(),
        "machine": [machine.cpu, machine.cores],
    }
    wanted = profile.bench
    asked = Asked(
        samples=wanted.samples,
        tokens=wanted.tokens,
        judged=wanted.judged,
        batches=parse_batches(wanted.batches),
        may_go_between=may_go_between(wanted.batches),
        threads=wanted.threads,
        time_limit_s=wanted.time_limit_s,
        require=wanted.require,
    )

    def measured() -> Report:
        say(f"bench: {profile.name} {made.path.name}, batches {wanted.batches}")
        return bench_text.bench(made.path, asked, budget=profile.budget, out=folder, listen=listen)

    return kept.once(
        folder / "bench.json",
        stage_key("bench", [made.sha256], settings, made.versions),
        measured,
        unchanged=lambda: say(f"bench: {profile.name} {made.path.name}: unchanged, not measured again"),
    )
