"""Measure a model by batch size, each in its own process, and judge it against a budget."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from deploytk import plugins
from deploytk.artifact import Artifact, sidecar
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError
from deploytk.files import sha256_of
from deploytk.graphs.identify import require_model
from deploytk.measurement import Machine, Measurement
from deploytk.report import Report
from deploytk.stages import bench_estimate, bench_table
from deploytk.stages.bench_sweep import Point, swept
from deploytk.stages.bench_table import Judged
from deploytk.worker import Listener

#: Which runtime reads a format where the user names none.
RUNTIMES = {"onnx": "onnx", "tflite": "litert"}


def bench(
    model: Path,
    *,
    budget: Budget,
    batches: Sequence[int],
    runtime: str | None = None,
    threads: int | None = None,
    time_limit_s: float = 120.0,
    require: Literal["any", "all"] = "any",
    out: Path,
    feeds: Path | None = None,
    listen: Listener | None = None,
) -> Report:
    """The report of one model: a measurement and a verdict for each batch size, and one verdict for all.

    Args:
        out: folder for the logs and the tasks of the children.
        feeds: an .npz of real samples; drawn ones are used without it.

    Raises:
        InputError: the file is no model that a runtime here can run.
        MissingDependency: its runtime is not installed.
    """
    began = monotonic()
    artifact = _artifact(model)
    if artifact.format == "vela-tflite":
        judged = [bench_estimate.estimated(artifact, budget)]
    else:
        spec = _spec(artifact, runtime, threads, feeds)
        with _nothing_left_of_bad_input(out):
            points = swept(spec, batches, budget, time_limit_s, out / "logs", listen)
        machine = Machine.this()
        judged = [_measured(point, artifact, spec["runtime"], machine, budget) for point in points]
    return _report(artifact, judged, budget, require, monotonic() - began)


@contextmanager
def _nothing_left_of_bad_input(out: Path) -> Iterator[None]:
    """Folders made inside the block are removed again when the input turns out to be wrong."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    except InputError:
        if made:
            shutil.rmtree(made[-1], ignore_errors=True)
        raise


def _artifact(model: Path) -> Artifact:
    """The artifact a model file is: its lineage where deploytk made it, what its content says where not."""
    kind = require_model(model)
    if kind.name not in (*RUNTIMES, "vela-tflite"):
        raise InputError(
            f"{model}: {kind.what} cannot be benched; make an ONNX or a TFLite of it with: deploytk export"
        )
    if sidecar(model).is_file():
        return replace(Artifact.load(model), format=kind.name)
    return Artifact(path=model, format=kind.name, precision="unknown", sha256=sha256_of(model), made_by="given")


def _spec(artifact: Artifact, runtime: str | None, threads: int | None, feeds: Path | None) -> dict[str, Any]:
    """What each child is told, but its batch size."""
    name = runtime or RUNTIMES[artifact.format]
    module = plugins.load("runtimes", name)
    if artifact.format not in module.FORMATS:
        raise InputError(
            f"the runtime {name} reads {', '.join(module.FORMATS)}, and {artifact.path} is {artifact.format}"
        )
    return {
        "model": str(artifact.path.absolute()),
        "format": artifact.format,
        "runtime": name,
        "threads": threads,
        "samples": str(feeds.absolute()) if feeds else None,
    }


def _measured(point: Point, artifact: Artifact, runtime: str, machine: Machine, budget: Budget) -> Judged:
    """The measurement of a finished point, and its verdict with the memory budget in it."""
    assert point.verdict
    measurement = Measurement(
        artifact_sha256=artifact.sha256,
        runtime=runtime,
        batch=point.batch,
        status=point.status,
        reason=point.reason,
        samples_ms=tuple(point.samples),
        blocks=tuple(point.blocks),
        warmup_ms=tuple(point.warmup),
        load_ms=point.load_ms,
        peak_rss_mb=point.peak_rss_mb,
        details=point.details,
        log=point.log,
        command=point.command,
        machine=machine,
    )
    limit, peak = budget.max_memory_mb, point.peak_rss_mb
    if limit is not None and peak is not None and peak > limit and point.status == "ok":
        reason = f"The peak memory is {peak:.0f} MB, over the budget of {limit:g} MB."
        return measurement, Verdict(status="fail", reasons=(reason, *point.verdict.reasons))
    return measurement, point.verdict


def _report(artifact: Artifact, judged: list[Judged], budget: Budget, require: str, time_s: float) -> Report:
    rows = [bench_table.row(measurement, verdict, budget) for measurement, verdict in judged]
    verdict = _within_size(artifact, budget, bench_table.overall(judged, rows, budget, require))
    details = next((m.details for m, _ in judged if m.details), {})
    return Report(
        command="bench",
        title=artifact.path.name,
        verdict=verdict,
        exit_code=verdict.exit_code,
        artifact=artifact,
        chain=(artifact,),
        measurements=tuple(m for m, _ in judged),
        budget=budget,
        machine=Machine.this(),
        versions=details.get("versions", {}),
        sections={
            "bench": {
                "rows": rows,
                "best_batch": bench_table.best_batch(rows),
                "best_throughput_batch": bench_table.best_throughput_batch(rows),
                "time_s": round(time_s, 3),
                "inputs": details.get("inputs", ""),
                "boundary": budget.boundary,
                "arrival": "closed loop, one request at a time",
            }
        },
    )


def _within_size(artifact: Artifact, budget: Budget, verdict: Verdict) -> Verdict:
    """`verdict`, or a failure where the file is larger than the budget allows."""
    size_mb = artifact.path.stat().st_size / 1e6
    if budget.max_size_mb is None or size_mb <= budget.max_size_mb:
        return verdict
    reason = f"The file has {size_mb:.3g} MB, over the budget of {budget.max_size_mb:g} MB."
    return Verdict(status="fail", reasons=(reason, *verdict.reasons))
