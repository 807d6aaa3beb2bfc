"""The whole pipeline of one profile: train, export, bench, judge, one report; what is unchanged is skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact, stage_key
from deploytk.batches import may_go_between, parse_batches
from deploytk.files import sha256_of
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.runtimes import gpu
from deploytk.stages import kept
from deploytk.stages.bench import bench
from deploytk.stages.export import export, require_target
from deploytk.stages.merged import merged
from deploytk.stages.real_inputs import real_inputs
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train import train
from deploytk.stages.train_begin import How
from deploytk.worker import Listener

Say = Callable[[str], None]


def run(profile: Profile, out: Path, *, say: Say, listen: Listener | None = None, how: How = "auto") -> Report:
    """The one report of the pipeline. Its verdict is about the target: an NPU's time is an estimate and says so.

    Raises:
        DeploytkError: a stage could not be finished; what was finished stays and is not done again.
    """
    require_target(profile)
    say(f"train: {profile.name}")
    trained = train(profile, out, listen, how=how)
    say(trained.verdict.reasons[-1])
    say(f"export: {profile.export.target}")
    exported = export(RunFolder(out), profile, listen)
    for name, skipped in exported.sections["skipped"].items():
        say(f"  {name}: {'unchanged, not made again' if skipped else 'made'}")
    feeds = real_inputs(profile, RunFolder(out), listen)
    benches = [_bench(profile, RunFolder(out), model, feeds, say, listen) for model in _benched(exported)]
    return _merged(profile, trained, exported, benches)


def _benched(exported: Report) -> list[Artifact]:
    """What is benched: the ONNX, the INT8 model on this CPU, and the compiled model (as an estimate).

    For TensorRT the engine alone: what its ONNX takes on this CPU says nothing of it. Without a GPU nothing is.
    """
    engines = [a for a in exported.chain if a.format == "tensorrt-engine"]
    if engines:
        return [] if gpu.lacking() else engines
    return [
        a
        for a in exported.chain
        if a.format in ("onnx", "openvino-xml", "vela-tflite") or (a.format, a.precision) == ("tflite", "int8")
    ]


def _bench(
    profile: Profile, folder: RunFolder, model: Artifact, feeds: Path, say: Say, listen: Listener | None
) -> Report:
    """The bench of one artifact; the kept one where nothing that shapes it has changed."""
    out = folder.path / "bench" / model.path.stem
    settings = {
        "bench": profile.bench.model_dump(),
        "budget": profile.budget.model_dump(),
        "inputs": sha256_of(feeds),
    }
    machine = Machine.this()
    key = stage_key("bench", [model.sha256], {**settings, "machine": [machine.cpu, machine.cores]}, model.versions)

    def measured() -> Report:
        say(f"bench {model.path.name}: batches {profile.bench.batches}")
        return bench(
            model.path,
            budget=profile.budget,
            batches=parse_batches(profile.bench.batches),
            may_go_between=may_go_between(profile.bench.batches),
            runtime=None,
            threads=profile.bench.threads,
            time_limit_s=profile.bench.time_limit_s,
            require=profile.bench.require,
            feeds=feeds,
            end_to_end={"images": [str(profile.data.path)]} if profile.budget.boundary == "end_to_end" else None,
            out=out,
            listen=listen,
        )

    return kept.once(
        out / "bench.json",
        key,
        measured,
        unchanged=lambda: say(f"bench {model.path.name}: unchanged, not measured again"),
    )


def _merged(profile: Profile, trained: Report, exported: Report, benches: list[Report]) -> Report:
    """One report of all stages. The bench of what runs on the target decides; the others are told beside it."""
    deciding = next((b for b in benches if b.artifact and b.artifact.sha256 == _deployed(exported)), None)
    stages = [exported, deciding] if deciding else [exported]
    beside = [b for b in benches if b is not deciding]
    report = merged(profile, stages, made=exported, before=[trained, *beside])
    return replace(
        report,
        measurements=tuple(m for b in benches for m in b.measurements),
        sections={**trained.sections, **exported.sections, "bench": _bench_section(benches)},
    )


def _deployed(exported: Report) -> str:
    """The sha256 of what runs on the target: the report's own artifact."""
    return exported.artifact.sha256 if exported.artifact else ""


def _bench_section(benches: list[Report]) -> dict[str, Any]:
    """The rows of all benches in one table, each row saying which file it is about."""
    rows = [
        {"artifact": b.artifact.path.name, **row} for b in benches if b.artifact for row in b.sections["bench"]["rows"]
    ]
    told = [
        {"artifact": b.artifact.path.name, "verdict": b.verdict.status, "reasons": list(b.verdict.reasons)}
        for b in benches
        if b.artifact
    ]
    return {"rows": rows, "verdicts": told}
