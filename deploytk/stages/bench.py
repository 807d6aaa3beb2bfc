"""Measure a model by batch size, each in its own process, and judge it against a budget."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from deploytk import plugins
from deploytk.artifact import Artifact, sidecar
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError, MissingDependency
from deploytk.files import sha256_of, size_of
from deploytk.graphs.identify import RUNNABLE, identify, require_model
from deploytk.measurement import Machine
from deploytk.report import Finding, Report
from deploytk.runtimes.gpu import require_gpu
from deploytk.stages import bench_engine, bench_estimate, bench_table
from deploytk.stages.bench_point import Point
from deploytk.stages.bench_stability import stability
from deploytk.stages.bench_sweep import swept
from deploytk.stages.bench_table import Judged
from deploytk.stages.bench_threads import measured_threads
from deploytk.worker import Listener

#: What a bench on a quiet machine is given, where this one was disturbed.
_QUIET_S = 300.0
CLOSED_LOOP = "closed loop, one request at a time"


def bench(
    model: Path,
    *,
    budget: Budget,
    batches: Sequence[int],
    may_go_between: bool = False,
    runtime: str | None = None,
    threads: int | Literal["auto"] | None = None,
    options: Mapping[str, str] | None = None,
    time_limit_s: float = 120.0,
    min_samples: int = 0,
    require: Literal["any", "all"] = "any",
    out: Path,
    feeds: Path | None = None,
    end_to_end: Mapping[str, Any] | None = None,
    trust: bool = False,
    listen: Listener | None = None,
) -> Report:
    """The report of one model: a measurement and a verdict for each batch size, and one verdict for all.

    Args:
        may_go_between: batch sizes between the given ones are tried too, to find the largest within the budget.
        threads: of the runtime; "auto" measures which number is fastest, None is the runtime's own choice.
        options: of the runtime, by name.
        min_samples: of each batch size within the budget, though fewer would decide: for later comparisons.
        out: folder for the logs and the tasks of the children.
        feeds: an .npz of real samples; drawn ones are used without it.
        end_to_end: `images`, `prepare` and `after` for the boundary "end_to_end" (`bench_end_to_end`).
        trust: see `spec_of`.

    Raises:
        InputError: the file is no model that a runtime here can run.
        MissingDependency: its runtime is not installed, or it needs a GPU and there is none.
    """
    artifact = artifact_of(model)
    if artifact.format == "vela-tflite":
        return _report(artifact, [bench_estimate.estimated(artifact, budget)], [], budget, require, {})
    if budget.boundary == "end_to_end" and not (end_to_end or {}).get("images"):
        raise InputError("the boundary end_to_end needs the images to begin with: give --images FOLDER")
    boundary = budget.boundary
    sections: dict[str, Any] = {}
    with nothing_left_of_bad_input(out):
        artifact = bench_engine.runnable(artifact, runtime, batches, out, listen)
        began = monotonic()  # an engine that is built first is no part of the bench's time
        spec = spec_of(artifact, runtime=runtime, options=options, feeds=feeds, boundary=boundary, trust=trust)
        spec |= end_to_end or {}
        if threads == "auto":
            found = measured_threads(spec, batches[0], budget, out / "logs", time_limit_s / 4, listen)
            sections["threads"] = found
            threads = found["best"]
        spec["threads"] = threads
        left_s = time_limit_s - (monotonic() - began)
        points = swept(
            spec,
            batches,
            budget,
            left_s,
            out / "logs",
            listen,
            # Where every batch size must pass, every one is to be proved and no other is asked for.
            may_go_between=may_go_between and require == "any",
            min_samples=min_samples,
        )
    machine = Machine.this()
    judged = [_judged(point, artifact, machine) for point in points]
    sections["search"] = {
        "opened": sum(bool(p.log) for p in points),
        "calls": sum(len(p.samples) + len(p.warmup) for p in points),
        "time_s": round(monotonic() - began, 3),
    }
    return _report(artifact, judged, points, budget, require, sections)


@contextmanager
def nothing_left_of_bad_input(out: Path) -> Iterator[None]:
    """Folders made inside the block are removed again when the input turns out to be wrong, or something missing."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except (InputError, MissingDependency):
        if made:
            shutil.rmtree(made[-1], ignore_errors=True)
        raise


def artifact_of(model: Path) -> Artifact:
    """The artifact a model file is: its lineage where deploytk made it, what its content says where not."""
    kind = identify(model)
    if kind.is_model and kind.name not in (*RUNNABLE, "vela-tflite"):
        raise InputError(
            f"{model}: {kind.what} cannot be benched; make an ONNX or a TFLite of it with: deploytk export"
        )
    require_model(model, (*RUNNABLE, "vela-tflite"))
    if sidecar(model).is_file():
        return replace(Artifact.load(model), format=kind.name)
    return Artifact(path=model, format=kind.name, precision="unknown", sha256=sha256_of(model), made_by="given")


def spec_of(
    artifact: Artifact,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    feeds: Path | None = None,
    boundary: str = "model",
    trust: bool = False,
) -> dict[str, Any]:
    """What each child is told, but its batch size.

    Args:
        trust: code that a model file brings may be run, by a runtime that knows of such files.

    Raises:
        InputError: no such runtime, or it does not read this format.
        MissingDependency: the runtime is not installed, or it needs a GPU and there is none.
    """
    name = runtime or next(usual for kind, usual in RUNNABLE.items() if kind == artifact.format)
    module = plugins.load("runtimes", name)
    if artifact.format not in module.FORMATS:
        raise InputError(
            f"the runtime {name} reads {', '.join(module.FORMATS)}, and {artifact.path} is {artifact.format}"
        )
    if getattr(module, "NEEDS_GPU", False):
        require_gpu(name)
    trusting = {"trust": "yes"} if trust and "trust" in getattr(module, "OPTIONS", {}) else {}
    return {
        "model": str(artifact.path.absolute()),
        "format": artifact.format,
        "runtime": name,
        "threads": threads,
        "options": {**(options or {}), **trusting},
        "samples": str(feeds.absolute()) if feeds else None,
        "boundary": boundary,
    }


def _judged(point: Point, artifact: Artifact, machine: Machine) -> Judged:
    assert point.verdict
    return point.measurement(artifact, machine), point.verdict


def report_of(
    artifact: Artifact,
    judged: list[Judged],
    points: Sequence[Point],
    budget: Budget,
    *,
    require: str,
    sections: dict[str, Any],
    again: str,
    used: Sequence[Point] | None = None,
) -> Report:
    """The report of measured batch sizes: a row and a verdict for each, and one verdict for all.

    Args:
        again: the command that measures it on a quiet machine.
        used: all that was measured, where it is more than `points`: whether the machine was steady meanwhile.
    """
    rows = [bench_table.row(measurement, verdict, budget) for measurement, verdict in judged]
    throughputs = bench_table.throughputs([p for p in points if p.samples])
    verdict = bench_table.overall(judged, rows, budget, require, throughputs["tied"])
    steady = stability([p.used for p in (points if used is None else used)], command=again)
    details = next((m.details for m, _ in judged if m.details), {})
    return Report(
        command="bench",
        title=artifact.path.name,
        verdict=verdict,
        exit_code=verdict.exit_code,
        artifact=artifact,
        chain=(artifact,),
        findings=findings(steady),
        measurements=tuple(m for m, _ in judged),
        budget=budget,
        machine=Machine.this(),
        versions=details.get("versions", {}),
        sections={
            "bench": {
                "rows": rows,
                "best_batch": bench_table.best_batch(rows),
                **throughputs,
                "inputs": details.get("inputs", ""),
                "boundary": budget.boundary,
                "arrival": CLOSED_LOOP,
                "stability": steady,
                **sections,
            }
        },
    )


def _report(
    artifact: Artifact,
    judged: list[Judged],
    points: Sequence[Point],
    budget: Budget,
    require: str,
    sections: dict[str, Any],
) -> Report:
    again = f"deploytk bench {artifact.path} --time-limit {_QUIET_S:g}"
    report = report_of(artifact, judged, points, budget, require=require, sections=sections, again=again)
    return with_verdict(report, within_size(size_of(artifact.path), "The file has", budget, report.verdict))


def with_verdict(report: Report, verdict: Verdict) -> Report:
    """`report` with another verdict, whose exit code becomes its own."""
    return replace(report, verdict=verdict, exit_code=verdict.exit_code)


def findings(steady: Mapping[str, Any]) -> tuple[Finding, ...]:
    """A warning where the machine was not quiet."""
    if not steady["sentence"]:
        return ()
    fix = "repeat it when nothing else runs: the verdict is about the machine as it was"
    return (Finding(rule="BEN001", severity="warning", where="bench", message=steady["sentence"], fix=fix),)


def within_size(size_bytes: int, what: str, budget: Budget, verdict: Verdict) -> Verdict:
    """`verdict`, or a failure where that is more than the budget allows; `what` is "The file has"."""
    size_mb = size_bytes / 1e6
    if budget.max_size_mb is None or size_mb <= budget.max_size_mb:
        return verdict
    reason = f"{what} {size_mb:.3g} MB, over the budget of {budget.max_size_mb:g} MB."
    return Verdict(status="fail", reasons=(reason, *verdict.reasons))
