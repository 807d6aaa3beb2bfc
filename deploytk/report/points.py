"""The bench of a report as points: one per artifact and batch size, from its rows, its measurements, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploytk.measurement import Measurement
from deploytk.report import Report


@dataclass(frozen=True, kw_only=True)
class Point:
    """One batch size of one artifact, measured or estimated, or why there is nothing."""

    artifact: str
    batch: int
    kind: str = "measured"
    status: str = "ok"
    verdict: str | None = None
    reason: str = ""
    runtime: str = ""
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    judged_ms: float | None = None
    items_per_second: float | None = None
    ms_per_item: float | None = None
    peak_rss_mb: float | None = None
    n: int = 0
    samples_ms: tuple[float, ...] = ()

    @property
    def estimated(self) -> bool:
        """Whether a compiler said it, not a clock."""
        return self.kind == "estimated"


def points(report: Report) -> list[Point]:
    """Every point of the report: artifacts in their order in it, then by batch."""
    alone = report.artifact.path.name if report.artifact else report.title
    found: dict[tuple[str, int, str], dict[str, Any]] = {}
    for row in _rows(report):
        key = (str(row.get("artifact", alone)), int(row["batch"]), str(row.get("kind") or "measured"))
        found[key] = dict(row)
    for measurement in report.measurements:
        name = _name(report, measurement.artifact_sha256)
        key = (name, measurement.batch, measurement.kind)
        found[key] = _of(measurement) | {k: v for k, v in found.get(key, {}).items() if v is not None}
    told = [_point(*key, values) for key, values in found.items()]
    order = list(dict.fromkeys(p.artifact for p in told))
    return sorted(told, key=lambda p: (order.index(p.artifact), p.estimated, p.batch))


def _rows(report: Report) -> list[Mapping[str, Any]]:
    section = report.sections.get("bench")
    rows = section.get("rows", ()) if isinstance(section, Mapping) else ()
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("batch"), int)]


def _name(report: Report, sha256: str) -> str:
    known = [*report.chain, *([report.artifact] if report.artifact else [])]
    return next((a.path.name for a in known if a.sha256 == sha256), sha256[:12])


def _of(m: Measurement) -> dict[str, Any]:
    told: dict[str, Any] = {"status": m.status, "reason": m.reason, "runtime": m.runtime, "peak_rss_mb": m.peak_rss_mb}
    if not m.samples_ms:
        return told
    typical = m.percentile_ms(50)
    told |= {"samples_ms": m.samples_ms, "items_per_second": m.items_per_second, "ms_per_item": typical / m.batch}
    if m.kind == "estimated":
        return told | {"judged_ms": typical}
    return told | {f"p{p}_ms": m.percentile_ms(p) for p in (50, 90, 95, 99)} | {"n": len(m.samples_ms)}


def _point(artifact: str, batch: int, kind: str, values: Mapping[str, Any]) -> Point:
    known = {name: value for name, value in values.items() if name in _FIELDS and value is not None}
    return Point(artifact=artifact, batch=batch, kind=kind, **known)


_FIELDS = frozenset(Point.__dataclass_fields__) - {"artifact", "batch", "kind"}
