"""A pipeline of two models from its data to a verdict: both trained, exported, joined, compared with torch, benched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.artifact import Artifact, stage_key
from deploytk.batches import may_go_between, parse_batches
from deploytk.budget import Verdict
from deploytk.errors import EXIT_PASS
from deploytk.measurement import Machine
from deploytk.pipelines import description as descriptions
from deploytk.profile import PART_NAMES, Profile
from deploytk.report import Finding, Report
from deploytk.stages import bench_pipeline, export_pipeline, kept, train_parts
from deploytk.stages.bench_pipeline import Asked
from deploytk.stages.evaluate import Against, evaluate, foreign_names
from deploytk.stages.merged import merged
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
        return merged(profile, [exported], made=exported, before=[trained])
    judged = [of(profile, out, exported, exported.artifact, say, listen) for of in (_evaluated, _benched)]
    return merged(profile, [exported, *judged], made=exported, before=[trained])


def _evaluated(
    profile: Profile, out: Path, exported: Report, made: Artifact, say: Say, listen: Listener | None
) -> Report:
    """The accuracy of the whole on the detector's images, beside the trained models."""
    data, allowed = _images(profile), profile.budget.max_accuracy_drop
    foreign = foreign_names(descriptions.read(made.path), data)
    if foreign:
        return _not_comparable(profile, made, data, foreign)
    against = Against(detector=out / "detector", classifier=out / "classifier")

    def measured() -> Report:
        say("evaluate: the whole, beside torch")
        return evaluate(made.path, data, against=against, max_drop=allowed, listen=listen)

    return kept.once(
        out / "evaluate.json",
        _key("evaluate", profile, exported, made, {"allowed": allowed}),
        measured,
        unchanged=lambda: say("evaluate: unchanged, not measured again"),
    )


def _images(profile: Profile) -> Path:
    """The dataset of the detector, whose validation images the whole is looked at on."""
    return Path(str(profile.part("detector").data.path))


def _key(stage: str, profile: Profile, exported: Report, made: Artifact, settings: dict[str, Any]) -> str:
    detector = profile.part("detector")
    images = plugins.load("backends", detector.backend).data_fingerprint(detector)
    return stage_key(stage, [made.sha256, images], settings, exported.versions)


def _not_comparable(profile: Profile, made: Artifact, data: Path, foreign: Sequence[str]) -> Report:
    """Where the detector's labels are not the classifier's names, each model was judged by its own data only."""
    message = (
        f"how right the whole is was not measured: the labels of {data} are not the classifier's names "
        f"({len(foreign)} are none of them, the first {foreign[0]!r})"
    )
    fix = "label the detector's images with the names that the classifier gives"
    finding = Finding(rule="PIP001", severity="warning", where="pipeline", message=message, fix=fix)
    return Report(
        command="evaluate",
        title=profile.name,
        verdict=Verdict(status="pass", reasons=(message,)),
        exit_code=EXIT_PASS,
        artifact=made,
        findings=(finding,),
    )


def _benched(
    profile: Profile, out: Path, exported: Report, made: Artifact, say: Say, listen: Listener | None
) -> Report:
    machine, folder = Machine.this(), out / "bench" / "pipeline"
    budget = profile.budget.model_copy(update={"boundary": "end_to_end"})
    settings = {"bench": profile.bench.model_dump(), "budget": budget.model_dump()}
    asked = Asked(
        images=[str(_images(profile))],
        batches=parse_batches(profile.bench.batches),
        may_go_between=may_go_between(profile.bench.batches),
        threads=profile.bench.threads,
        time_limit_s=profile.bench.time_limit_s,
        require=profile.bench.require,
    )

    def measured() -> Report:
        say(f"bench: batches {profile.bench.batches}")
        return bench_pipeline.bench(made.path, asked, budget=budget, out=folder, listen=listen)

    return kept.once(
        folder / "bench.json",
        _key("bench", profile, exported, made, {**settings, "machine": [machine.cpu, machine.cores]}),
        measured,
        unchanged=lambda: say("bench: unchanged, not measured again"),
    )
