"""The bench of a report as points: one per artifact, runtime, threads and batch, from its rows and measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deploytk.measurement import Measurement, percentile
from deploytk.report import Report


@dataclass(frozen=True, kw_only=True)
class Point:
    """One batch size of one artifact on one runtime, measured or estimated, or why there is nothing.

    `series` names what its points share, as short as the report allows: the artifact alone where nothing else differs.
    """

    artifact: str
    batch: int
    kind: str = "measured"
    status: str = "ok"
    verdict: str | None = None
    reason: str = ""
    runtime: str = ""
    threads: int | None = None
    series: str = ""
    precision: str = ""
    refined: bool = True  # judged with all the samples it takes; False: only screened
    first_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    judged_ms: float | None = None
    cpu_ms: float | None = None
    items_per_second: float | None = None
    ms_per_item: float | None = None
    energy_j_per_item: float | None = None
    peak_rss_mb: float | None = None
    load_ms: float | None = None
    n: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)
    measurement: Measurement | None = None

    @property
    def estimated(self) -> bool:
        """Whether a compiler said it, not a clock."""
        return self.kind == "estimated"

    @property
    def samples_ms(self) -> tuple[float, ...]:
        """Every sample in order, in ms per call; none where the report has only a row."""
        return self.measurement.samples_ms if self.measurement else ()

    @property
    def split(self) -> dict[str, float]:
        """The median of each part of an end-to-end call, or of a GPU's own time in a call, in ms, by name."""
        if self.parts or not self.measurement:
            return dict(self.parts)
        return {name: percentile(values, 50) for name, values in self.measurement.parts_ms.items() if values}

    @property
    def blocks_ms(self) -> list[tuple[float, ...]]:
        """The samples of each block; one block of all where none were kept apart."""
        if not self.measurement or not self.samples_ms:
            return []
        found, start = [], 0
        for count in self.measurement.blocks or (len(self.samples_ms),):
            found.append(self.samples_ms[start : start + count])
            start += count
        return found


def points(report: Report) -> list[Point]:
    """Every point of the report: series in their order in it, then by batch."""
    left = list(report.measurements)
    told = [_from_row(row, _taken(row, left, report), report) for row in _rows(report)]
    told += [_from_measurement(m, report) for m in left]
    named = _named(told)
    order = list(dict.fromkeys(p.artifact for p in named))
    series = list(dict.fromkeys(p.series for p in named))
    return sorted(named, key=lambda p: (order.index(p.artifact), p.estimated, series.index(p.series), p.batch))


def _rows(report: Report) -> list[Mapping[str, Any]]:
    section = report.sections.get("bench")
    rows = section.get("rows", ()) if isinstance(section, Mapping) else ()
    return [row for row in rows or () if isinstance(row, Mapping) and isinstance(row.get("batch"), int)]


def _taken(row: Mapping[str, Any], left: list[Measurement], report: Report) -> Measurement | None:
    """The measurement a row is about, taken out of `left`: the first that is the same in all that the row names."""
    for number, m in enumerate(left):
        if _about(row, m, report):
            return left.pop(number)
    return None


def _about(row: Mapping[str, Any], m: Measurement, report: Report) -> bool:
    told = {"artifact": _name(report, m.artifact_sha256), "runtime": m.runtime, "threads": _threads(m)}
    named = {"artifact": _alone(report)} | {key: row[key] for key in told if row.get(key) is not None}
    same = all(told[key] is None or told[key] == value for key, value in named.items())
    return same and m.batch == row["batch"] and m.kind == (row.get("kind") or "measured")


def _alone(report: Report) -> str:
    return report.artifact.path.name if report.artifact else report.title


def _from_row(row: Mapping[str, Any], m: Measurement | None, report: Report) -> Point:
    values = {"artifact": _alone(report), **(_of(m) if m else {})}
    values |= {key: value for key, value in row.items() if key in _FIELDS and value is not None}
    return Point(**values, measurement=m)


def _from_measurement(m: Measurement, report: Report) -> Point:
    return Point(artifact=_name(report, m.artifact_sha256), **_of(m), measurement=m)


def _name(report: Report, sha256: str) -> str:
    known = [*report.chain, *([report.artifact] if report.artifact else [])]
    return next((a.path.name for a in known if a.sha256 == sha256), sha256[:12])


def _threads(m: Measurement) -> int | None:
    told = m.details.get("threads")
    return told if isinstance(told, int) else None


def _of(m: Measurement) -> dict[str, Any]:
    told: dict[str, Any] = {
        **{name: getattr(m, name) for name in ("batch", "kind", "status", "reason", "runtime", "peak_rss_mb")},
        **{name: getattr(m, name) for name in ("load_ms", "first_ms")},
        "threads": _threads(m),
    }
    if not m.samples_ms:
        return told
    typical = m.percentile_ms(50)
    told |= {"items_per_second": m.items_per_second, "ms_per_item": typical / m.batch}
    if m.kind == "estimated":
        return told | {"judged_ms": typical}
    return told | {f"p{p}_ms": m.percentile_ms(p) for p in (50, 90, 95, 99)} | {"n": len(m.samples_ms)}


def _named(told: Sequence[Point]) -> list[Point]:
    """The points with the names of their series: the artifact, and the runtime and threads where they differ."""
    found = []
    for p in told:
        alike = [o for o in told if o.artifact == p.artifact]
        runtimes = {o.runtime for o in alike if o.runtime}
        threads = {o.threads for o in alike if o.threads is not None and o.runtime == p.runtime}
        parts = [p.artifact, *([p.runtime] if len(runtimes) > 1 and p.runtime else [])]
        if len(threads) > 1 and p.threads is not None:
            parts.append(f"{p.threads} thread{'' if p.threads == 1 else 's'}")
        found.append(replace(p, series=", ".join(parts)))
    return found


_FIELDS = frozenset(Point.__dataclass_fields__) - {"measurement", "series"}
