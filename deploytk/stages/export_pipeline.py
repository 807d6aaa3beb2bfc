"""Make both models of a pipeline ready for a target, and the folder that joins them (RUN/pipeline)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.artifact import Artifact
from deploytk.budget import Verdict
from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.measurement import Machine
from deploytk.pipelines import folder, lineage
from deploytk.pipelines.description import Runtime
from deploytk.profile import PART_NAMES, Profile
from deploytk.report import Report
from deploytk.stages import export as one
from deploytk.stages.train_parts import part_folder
from deploytk.worker import Listener

#: What runs the models of a target here, in one process. An engine is run by neither.
RUNTIMES: Mapping[str, Runtime] = {"onnx": "onnx", "openvino": "openvino", "npu": "litert"}
#: What of an NPU export runs on this CPU: the INT8 model, before Vela compiles it.
_HERE = {"npu": "tflite"}
_TIMEOUT_S = 600.0


def pipeline_folder(out: Path) -> Path:
    """Where the pipeline of a run is."""
    return out / "pipeline"


def require_target(profile: Profile) -> None:
    """Nothing, where both models can be made for their target, which is the same.

    Raises:
        InputError: they cannot. Asked before the first long step.
    """
    targets = [profile.part(name).export.target for name in PART_NAMES]
    if len(set(targets)) > 1:
        raise InputError(f"both models of a pipeline have one target; these have {' and '.join(targets)}")
    if targets[0] not in RUNTIMES:
        raise InputError(
            f"a pipeline is run by ONNX Runtime, OpenVINO or LiteRT: choose --target {', '.join(RUNTIMES)} (each of "
            f"its models can be exported to {targets[0]} by itself)"
        )
    for name in PART_NAMES:
        own = profile.part(name)
        one.require_target(own)
        if own.export.nms == "in" or own.export.preprocess != "out":
            raise InputError(
                f"parts.{name}.export: a pipeline prepares and suppresses itself; leave preprocess and nms"
            )


def export(out: Path, profile: Profile, listen: Listener | None = None) -> Report:
    """The report of both exports. Where both models are good, they stand in RUN/pipeline with what joins them.

    Raises:
        InputError: what they cannot be exported to.
        StepFailed: a converter or the compiler crashed or ran out of time.
    """
    require_target(profile)
    reports = {name: one.export(part_folder(out, name), profile.part(name), listen) for name in PART_NAMES}
    bad = {name: report for name, report in reports.items() if report.verdict.status == "fail"}
    made = None if bad else _joined(out, profile, reports, listen)
    return _report(profile, reports, made)


def _joined(out: Path, profile: Profile, reports: Mapping[str, Report], listen: Listener | None) -> Artifact:
    """The pipeline of both models."""
    target = profile.part("detector").export.target
    runtime, settings, data = RUNTIMES[target], profile.pipeline, profile.part("classifier").data
    models = {name: _model(out, profile, name, reports[name], runtime, listen) for name in PART_NAMES}
    index = part_folder(out, "classifier").path / "class_index.json"
    described = folder.write(
        pipeline_folder(out),
        detector=models["detector"],
        classifier=models["classifier"],
        runtime=runtime,
        threads=profile.bench.threads,
        crops=Crops(margin=data.margin, square=data.square, most=settings.most),
        class_index=index if index.is_file() else None,
    )
    return lineage.artifact_of(described)


def _model(
    out: Path, profile: Profile, name: str, report: Report, runtime: Runtime, listen: Listener | None
) -> folder.Model:
    own, run = profile.part(name), part_folder(out, name)
    deployed = _run_here(own, report)
    told: dict[str, Any] = worker.call(
        "deploytk.stages.export_pipeline:described",
        {"backend": own.backend, "checkpoint": str(run.model), "model": str(deployed.path), "runtime": runtime},
        logs=run.logs,
        name="describe",
        timeout_s=_TIMEOUT_S,
        listen=listen,
    )
    settings = profile.pipeline
    keys: dict[str, dict[str, Any]] = {
        "detector": {"score_above": settings.score_above, "overlap_at_most": settings.overlap_at_most},
        "classifier": {"top_k": min(settings.top_k, len(told["labels"])), "batch": settings.batch},
    }
    return folder.Model(
        file=deployed.path,
        labels=told["labels"],
        preparation=Preparation.model_validate(told["preparation"]),
        settings=keys[name],
        chain=report.chain[: report.chain.index(deployed) + 1],
    )


def _run_here(profile: Profile, report: Report) -> Artifact:
    """What of an export is run in this machine's process: its end, or what stands before the NPU's compiler."""
    kind = _HERE.get(profile.export.target)
    ends = [a for a in report.chain if kind is None or (a.format, a.precision) == (kind, "int8")]
    return ends[-1]


def described(backend: str, checkpoint: str, model: str, runtime: str) -> dict[str, Any]:
    """In a child: the names of a model's classes, and how images are prepared for its exported file."""
    from deploytk import plugins
    from deploytk.data.preparation import facts_of
    from deploytk.stages.bench_end_to_end import image_input

    told = plugins.load("backends", backend).describe(Path(checkpoint))
    spec = image_input(plugins.load("runtimes", runtime).open_session(Path(model), batch=1, threads=1))
    own = told.get("preparation") or Preparation.for_input(spec, "detector").model_dump(mode="json")
    prepared = Preparation.model_validate({**own, **facts_of(spec)})
    return {"labels": [str(name) for name in told["classes"]], "preparation": prepared.model_dump(mode="json")}


def _report(profile: Profile, reports: Mapping[str, Report], made: Artifact | None) -> Report:
    deciding = [r for r in reports.values() if r.exit_code] or list(reports.values())
    reasons = tuple(f"{name}: {reason}" for name, r in reports.items() if r in deciding for reason in r.verdict.reasons)
    joined = (f"both models stand in {made.path.parent.name}/ with what joins them",) if made else ()
    return Report(
        command=f"export {profile.part('detector').export.target}",
        title=profile.name,
        verdict=Verdict(status=deciding[0].verdict.status, reasons=(*reasons, *joined)),
        exit_code=deciding[0].exit_code,
        artifact=made,
        chain=tuple(a for r in reports.values() for a in r.chain) + ((made,) if made else ()),
        findings=tuple(f for r in reports.values() for f in r.findings),
        budget=profile.budget,
        machine=Machine.this(),
        versions={name: version for r in reports.values() for name, version in r.versions.items()},
        sections=_sections(reports),
    )


def _sections(reports: Mapping[str, Report]) -> dict[str, Any]:
    told: dict[str, Callable[[Report], Any]] = {
        "verdict": lambda r: r.verdict.status,
        "deployed": lambda r: r.artifact.path.name if r.artifact else "",
        "metrics": lambda r: dict(r.artifact.metrics) if r.artifact else {},
    }
    rows = [{"part": name, **{key: of(report) for key, of in told.items()}} for name, report in reports.items()]
    skipped = {
        f"{name}: {file}": unchanged
        for name, report in reports.items()
        for file, unchanged in report.sections.get("skipped", {}).items()
    }
    parity = [
        {**row, "what": f"{name}: {row['what']}"}
        for name, report in reports.items()
        for row in report.sections.get("parity", ())
    ]
    return {"exports": rows, "skipped": skipped, "parity": parity}
