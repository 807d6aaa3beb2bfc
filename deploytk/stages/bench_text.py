"""Measure a text model by batch size, from texts to answers, and judge it against a budget.

What a batch costs has two sides that grow apart: reading the texts (prefill, until the first token is there) and
writing the answers (decode, one step for each further token). Both are told beside the whole, and the budget may be
for either.
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
from deploytk.files import sha256_of, write_json
from deploytk.measurement import Machine, Measurement, percentile
from deploytk.report import Report
from deploytk.stages import bench_compare
from deploytk.stages.bench import nothing_left_of_bad_input, report_of, with_verdict, within_size
from deploytk.stages.bench_point import Point
from deploytk.stages.bench_sweep import swept
from deploytk.stages.bench_text_child import DECODE, FIRST, PER_TOKEN, TEXT
from deploytk.stages.bench_threads import measured_threads
from deploytk.stages.text_models import artifact_of
from deploytk.stages.text_samples import data_of
from deploytk.text import description as descriptions
from deploytk.text import pairs
from deploytk.text.description import Described
from deploytk.worker import Listener

#: What the budget may be for -> the part of a call that is judged; nothing: the whole call.
JUDGED = {"answer": "", "first-token": FIRST, "token": PER_TOKEN}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a bench of a text model is asked for."""

    data: Path | None = None  # a table of texts; the data that the model's run was trained with where it is None
    source: str | None = None  # its column; as the model's description says where it is None
    samples: int = 100
    tokens: int | None = None  # of each answer; None: as the model ends them
    judged: str = "answer"
    batches: Sequence[int] = (1,)
    may_go_between: bool = False
    threads: int | Literal["auto"] | None = None
    time_limit_s: float = 600.0
    min_samples: int = 0
    require: Literal["any", "all"] = "any"


def bench(model: Path, asked: Asked, *, budget: Budget, out: Path, listen: Listener | None = None) -> Report:
    """The report of a text model: a verdict for each batch size, and one for all.

    Raises:
        InputError: no text model, no texts, or a wrong column.
        MissingDependency: its runtime is not installed.
    """
    described = opened(model)
    artifact = artifact_of(described)
    budget = budget.model_copy(update={"boundary": "end_to_end"})
    began, sections = time.monotonic(), {}
    with nothing_left_of_bad_input(out):
        spec, drawing = spec_of(described, asked, out)
        if asked.threads == "auto":
            found = measured_threads(spec, asked.batches[0], budget, out / "logs", asked.time_limit_s / 4, listen)
            spec["threads"], sections["threads"] = found["best"], found
        points = swept(
            spec,
            asked.batches,
            budget,
            asked.time_limit_s - (time.monotonic() - began),
            out / "logs",
            listen,
            may_go_between=asked.may_go_between and asked.require == "any",
            min_samples=asked.min_samples,
        )
    sections["search"] = {
        "opened": sum(bool(p.log) for p in points),
        "calls": sum(len(p.samples) + len(p.warmup) for p in points),
        "time_s": round(time.monotonic() - began, 3),
    }
    return _report(described, artifact, asked, points, budget, sections, drawing)


def compare(
    models: Sequence[Path],
    asked: Asked,
    *,
    budget: Budget,
    tolerance: float,
    out: Path,
    listen: Listener | None = None,
) -> Report:
    """The report of text models side by side, on the same texts (the first one's): `bench_compare.compare`.

    Raises:
        InputError: as `bench`, and where answers end of themselves: the models would do different work.
    """
    if asked.tokens is None:
        raise InputError("--compare of text models needs --tokens N: answers of different lengths are different work")
    if asked.threads == "auto":
        raise InputError("--threads auto is for one model; give a number with --compare")
    with nothing_left_of_bad_input(out):
        several = [opened(model) for model in models]
        asked = replace(
            asked,
            data=asked.data or data_of(several[0]),
            source=asked.source or several[0].description.source,
        )
        contenders = [
            bench_compare.Contender(artifact=artifact_of(one), spec=spec_of(one, asked, out)[0]) for one in several
        ]
        return bench_compare.compare(
            contenders,
            budget=budget.model_copy(update={"boundary": "end_to_end"}),
            batches=asked.batches,
            tolerance=tolerance,
            time_limit_s=asked.time_limit_s,
            out=out,
            listen=listen,
        )


def opened(path: Path) -> Described:
    """The text model at `path`; of a run that has made several the user must say which.

    Raises:
        InputError: it is none, or a run.
    """
    if descriptions.is_text(path):
        return descriptions.read(path)
    found = [folder.parent for folder in sorted(path.rglob(descriptions.NAME))] if path.is_dir() else []
    if not found:
        raise InputError(f"{path}: no text model (no {descriptions.NAME}); train one with: deploytk train PROFILE")
    raise InputError(f"{path}: a run with {len(found)} models; name one: {', '.join(map(str, found))}")


def spec_of(described: Described, asked: Asked, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what each child is told but its batch size, what the report says about the texts).

    Raises:
        InputError: there are no texts, or a wrong column.
    """
    told = described.description
    where = asked.data or data_of(described)
    column = asked.source or told.source
    # Only texts are needed: a table without answers will do.
    found = pairs.drawn(pairs.held_out(where, column, column), asked.samples)
    texts = out / "logs" / "texts.json"
    texts.parent.mkdir(parents=True, exist_ok=True)
    write_json(texts, [pair.source for pair in found])
    few = "" if len(found) == asked.samples else f" (of {asked.samples} asked for)"
    words = f"{len(found)} texts{few} of {where}, column {column}, in their order"
    spec = {
        "model": str(described.folder.absolute()),
        "format": "text",
        "runtime": told.runtime,
        "threads": None if asked.threads == "auto" else asked.threads,
        "texts": str(texts),
        "inputs": words,
        "tokens": asked.tokens,
        "judged": JUDGED[asked.judged],
    }
    drawing = {"inputs": words, "texts_sha256": sha256_of(texts), "data_sha256": _digest(where)}
    return spec, drawing


def _digest(where: Path) -> str | None:
    return sha256_of(where) if where.is_file() else None


def _report(
    described: Described,
    artifact: Artifact,
    asked: Asked,
    points: Sequence[Point],
    budget: Budget,
    sections: dict[str, Any],
    drawing: Mapping[str, Any],
) -> Report:
    machine = Machine.this()
    judged = [(p.measurement(artifact, machine), p.verdict or Verdict(status="inconclusive")) for p in points]
    again = f"deploytk bench {described.folder} --time-limit {2 * asked.time_limit_s:g}"
    report = report_of(artifact, judged, points, budget, require=asked.require, sections=sections, again=again)
    size = sum((described.folder / name).stat().st_size for name in described.description.files)
    sized = within_size(size, "The model's files have", budget, _of_what(report.verdict, asked.judged))
    details = next((m.details for m, _ in judged if "inside" in m.details), {})
    text_bench = {
        **drawing,
        "judged": asked.judged,
        "tokens": asked.tokens,
        **{name: details[name] for name in ("inside", "answers", "beams") if name in details},
        "rows": [row(m) for m, _ in judged if m.samples_ms],
    }
    boundary = {"boundary": "from the texts to the answers, both as strings"}
    return replace(
        with_verdict(report, sized),
        title=described.folder.absolute().name,
        sections={**report.sections, "bench": {**report.sections["bench"], **boundary}, "text_bench": text_bench},
    )


def _of_what(verdict: Verdict, judged: str) -> Verdict:
    if judged == "answer":
        return verdict
    what = {"first-token": "the time to the first token", "token": "the mean time of a further token"}[judged]
    return replace(verdict, reasons=(*verdict.reasons, f"Judged is {what}."))


def row(m: Measurement) -> dict[str, Any]:
    """Prefill and decode of one batch size apart, with what they bring; times in ms."""
    told = m.details
    mean_s = sum(m.samples_ms) / len(m.samples_ms) / 1000
    parts = {FIRST: "first_token", DECODE: "decode", TEXT: "text", PER_TOKEN: "per_token"}
    times: dict[str, float | None] = {}
    for name, short in parts.items():
        seen = [ms for ms in m.parts_ms.get(name, ()) if ms > 0]
        times |= {f"{short}_p{p}_ms": percentile(seen, p) if seen else None for p in (50, 95)}
    first_ms = times["first_token_p50_ms"]
    return {
        "batch": m.batch,
        "load_s": m.load_ms / 1000 if m.load_ms is not None else None,
        **times,
        "samples_per_second": m.items_per_second,
        "tokens_per_second": told["answer_tokens"] / mean_s,
        "prompt_tokens_per_second": 1000 * told["prompt_tokens"] / first_ms if first_ms else None,
        "prompt_tokens": told["prompt_tokens"] / m.batch,
        "answer_tokens": told["answer_tokens"] / m.batch,
        "padding_share": told["padding_share"],
        "peak_rss_mb": m.peak_rss_mb,
        "n": len(m.samples_ms),
    }
