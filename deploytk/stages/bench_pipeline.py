"""Measure a two-stage pipeline end to end, as one thing, and judge it against a budget.

The batch sizes (images in one call) are searched as those of a model are, with the crops that the images really have.
Beside that the smallest batch size is measured with 0, 1 and k crops in every image, in turn: what a photo without an
object costs, what one with many costs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError
from deploytk.measurement import Machine
from deploytk.pipelines import description as descriptions
from deploytk.pipelines import lineage
from deploytk.pipelines.description import Described
from deploytk.report import Report
from deploytk.stages.bench import nothing_left_of_bad_input, report_of, with_verdict, within_size
from deploytk.stages.bench_pipeline_rows import crop_row, measured, where_it_goes
from deploytk.stages.bench_point import Point
from deploytk.stages.bench_sweep import swept
from deploytk.stages.bench_threads import measured_threads
from deploytk.worker import Listener

#: The share of the time limit for the images as they are; the rest is for the numbers of crops.
_AS_FOUND = 0.6
_BOUNDARY = (
    "a pipeline is measured from the image to the names, its budget is for the whole: add --boundary end_to_end "
    "(deploytk bench measures one of its models alone)"
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a bench of a pipeline is asked for; `crops` are numbers of crops that each must be within the budget."""

    images: Sequence[str]
    batches: Sequence[int] = (1,)
    crops: Sequence[int] | None = None
    may_go_between: bool = False
    threads: int | Literal["auto"] | None = None
    options: Mapping[str, str] | None = None
    time_limit_s: float = 120.0
    min_samples: int = 0
    require: Literal["any", "all"] = "any"


def bench(pipeline: Path, asked: Asked, *, budget: Budget, out: Path, listen: Listener | None = None) -> Report:
    """The report of a pipeline: a verdict for each batch size and each number of crops, and one for all.

    Raises:
        InputError: no pipeline, no images, the boundary "model", or more crops than pipeline.json allows.
        MissingDependency: its runtime is not installed.
    """
    described = descriptions.read(pipeline)
    _require_sound(described, asked, budget)
    artifact = lineage.artifact_of(described)
    began, sections = time.monotonic(), {}
    with nothing_left_of_bad_input(out):
        spec = spec_of(described, asked)
        if asked.threads == "auto":
            found = measured_threads(spec, asked.batches[0], budget, out / "logs", asked.time_limit_s / 4, listen)
            spec["threads"], sections["threads"] = found["best"], found
        left_s = asked.time_limit_s - (time.monotonic() - began)
        points = swept(
            spec,
            asked.batches,
            budget,
            _AS_FOUND * left_s,
            out / "logs",
            listen,
            may_go_between=asked.may_go_between and asked.require == "any",
            min_samples=asked.min_samples,
        )
        forced = _with_crops(spec, points, asked, budget, out / "logs", began + asked.time_limit_s, listen)
    sections["search"] = {
        "opened": sum(bool(p.log) for p in points),
        "calls": sum(len(p.samples) + len(p.warmup) for p in (*points, *forced)),
        "time_s": round(time.monotonic() - began, 3),
    }
    return _report(described, artifact, asked, points, forced, budget, sections)


def spec_of(described: Described, asked: Asked) -> dict[str, Any]:
    """What each child is told, but its batch size and its number of crops."""
    told = described.description
    return {
        "model": str(described.path.absolute()),
        "format": "pipeline",
        "name": "pipeline",
        "runtime": told.runtime,
        "threads": told.threads if asked.threads in (None, "auto") else asked.threads,
        "options": {**told.options, **(asked.options or {})},
        "boundary": "end_to_end",
        "images": [str(Path(image).absolute()) for image in asked.images],
    }


def _require_sound(described: Described, asked: Asked, budget: Budget) -> None:
    if budget.boundary == "model":
        raise InputError(f"{described.path}: {_BOUNDARY}")
    if not asked.images:
        raise InputError("a pipeline is benched on images: give --images FOLDER, files or a data.yaml")
    most = described.description.crops.most
    over = [count for count in asked.crops or () if count > most]
    if over:
        raise InputError(f"--crops {over[0]}: {described.path} makes at most {most} crops of an image (crops.most)")


def _with_crops(
    spec: Mapping[str, Any],
    points: Sequence[Point],
    asked: Asked,
    budget: Budget,
    logs: Path,
    until: float,
    listen: Listener | None,
) -> list[Point]:
    """The smallest batch size with so many crops in every image, measured in turn."""
    seen = [p.details["crops_per_image"] for p in points if "crops_per_image" in p.details]
    counts = sorted({0, 1, *(int(each["most"]) for each in seen)}) if asked.crops is None else sorted({*asked.crops})
    if not any(p.samples for p in points):
        return []
    told = [
        Point(
            spec={**spec, "crops": count, "name": f"pipeline-{count}-crops"},
            batch=min(asked.batches),
            budget=budget,
            min_samples=asked.min_samples,
            began_s=time.monotonic(),
        )
        for count in counts
    ]
    return measured(told, logs, until, listen)


def _report(
    described: Described,
    artifact: Artifact,
    asked: Asked,
    points: Sequence[Point],
    forced: Sequence[Point],
    budget: Budget,
    sections: dict[str, Any],
) -> Report:
    machine = Machine.this()
    judged = [(p.measurement(artifact, machine), p.verdict or Verdict(status="inconclusive")) for p in points]
    report = report_of(
        artifact,
        judged,
        points,
        budget,
        require=asked.require,
        sections=sections,
        again=f"deploytk bench {described.path.parent} --boundary end_to_end --images ... --time-limit 300",
        used=(*points, *forced),
    )
    sized = within_size(described.size_bytes, "The two models have", budget, report.verdict)
    details = next((m.details for m, _ in judged if m.details), {})
    pipeline = {
        "decides": asked.crops is not None,
        "crops": [crop_row(p, budget) for p in forced],
        "stages": where_it_goes(points),
        **{k: details[k] for k in ("crops_per_image", "boxes_per_image", "note") if k in details},
    }
    return replace(
        with_verdict(report, _with_numbers(sized, forced, asked)),
        title=described.path.parent.absolute().name,
        chain=(*lineage.models_of(described), artifact),
        sections={**report.sections, "pipeline": pipeline},
    )


def _with_numbers(verdict: Verdict, forced: Sequence[Point], asked: Asked) -> Verdict:
    """`verdict`, with what each number of crops came to; where they were asked for, each must be within the budget."""
    told = [f"Crops in every image, {p.spec['crops']}: {r}" for p in forced if p.verdict for r in p.verdict.reasons[:1]]
    status = verdict.status
    if asked.crops is not None:
        found = {p.verdict.status for p in forced if p.verdict} | {status}
        status = "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"
    return Verdict(status=status, reasons=(*verdict.reasons, *told))
