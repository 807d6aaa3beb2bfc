"""The report of `deploytk optimize`: a row for each candidate, and the verdict that goes with the deployed folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deploytk.files import plain
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report
from deploytk.stages.optimize_candidates import Candidate, Wanted
from deploytk.stages.optimize_choice import Choice


def report_of(
    choice: Choice,
    wanted: Wanted,
    profile: Profile,
    source: float,
    facts: Mapping[str, Any],
    findings: tuple[Finding, ...],
) -> Report:
    """The report of a search.

    Args:
        source: the metric of the trained model.
        facts: `deployed`, `skipped` and `time_s`, for the section "optimize".
        findings: what disturbed the final round.
    """
    chosen = choice.chosen
    made = chosen.made if chosen else None
    default = choice.candidates[0]
    section = {
        "metric": wanted.metric,
        "source": source,
        "allowed": wanted.allowed,
        "limit_ms": wanted.budget.latency_ms,
        "per": wanted.budget.per,
        "percentile": wanted.budget.percentile,
        "boundary": wanted.budget.boundary,
        "default": default.name,
        "chosen": chosen.name if chosen else None,
        "rows": [row(candidate) for candidate in choice.candidates],
        **facts,
    }
    versions = {k: v for c in choice.candidates if c.made for a in c.made.chain for k, v in a.versions.items()}
    return Report(
        command="optimize",
        title=profile.name,
        verdict=choice.verdict,
        exit_code=choice.verdict.exit_code,
        artifact=made.artifact if made else None,
        chain=made.chain if made else (),
        findings=findings,
        budget=wanted.budget,
        machine=Machine.this(),
        versions=versions,
        sections={"optimize": plain(section)},
    )


def row(candidate: Candidate) -> dict[str, Any]:
    """One candidate as JSON-like values; what is not known is null."""
    made, timing = candidate.made, candidate.timing
    times = ("p50_ms", "judged_ms", "samples", "kind", "ratio", "low", "high", "word")
    return {
        "name": candidate.name,
        "target": candidate.variant.target,
        "precision": candidate.variant.precision,
        "imgsz": candidate.variant.imgsz,
        "batch": candidate.batch,
        "setting": candidate.setting.name,
        "status": candidate.status,
        "why": candidate.why,
        "how": made.how if made else "",
        "metric": candidate.metric,
        "drop": candidate.drop,
        "size_bytes": made.size_bytes if made else None,
        "look_ms": candidate.look_ms,
        **{name: getattr(timing, name) if timing else None for name in times},
        "attempt_ms": made.p50_ms if made else None,
        "verdict": timing.verdict.status if timing and timing.verdict else None,
        "reasons": list(timing.verdict.reasons) if timing and timing.verdict else [],
    }


def deployed_verdict(choice: Choice, wanted: Wanted) -> dict[str, Any]:
    """What stands in verdict.json beside the model."""
    chosen = next(candidate for candidate in choice.candidates if candidate.status == "chosen")
    return {
        "verdict": choice.verdict.status,
        "reasons": list(choice.verdict.reasons),
        "budget": wanted.budget.model_dump(mode="json"),
        "candidate": row(chosen),
        "default": row(choice.candidates[0]),
        "machine": asdict(Machine.this()),
    }
