"""What the report says about a model under load: how the requests came, what they met, and what a soak saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, number, pairs, text
from deploytk.report.content_bench_lines import BOUNDARY

_PERCENTS = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms")


def load_block(report: Report) -> list[Block]:
    """A load or a soak: its numbers as tables, its course as a figure, its windows folded away."""
    told = report.sections.get("load")
    if not isinstance(told, Mapping) or not told:
        return []
    tables = [
        replace(_pairs("What was asked for", told, _ASKED), brief=False),
        _pairs("Requests", _without_repeats(told), _REQUESTS),
        _times(told.get("times")),
        _pairs("Memory", told.get("memory"), _MEMORY),
        _pairs("Drift of the median", told.get("drift"), _DRIFT),
        _pairs("Throttling", told.get("throttling"), _THROTTLING),
        _windows("The worst second", [told.get("worst_second")], folded=False),
        _windows(_course(told), told.get("windows"), folded=True),
    ]
    shown = tuple(table for table in tables if table.rows)
    return [Block(name="load", title="Under load", lines=tuple(_lines(told)), tables=shown, figures=("load",))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    if told.get("scenario"):
        yield f"Scenario: {str(told['scenario']).replace('_', ' ')}."
    if told.get("arrival"):
        yield f"Requests: {told['arrival']}."
    if told.get("boundary"):
        yield BOUNDARY.get(str(told["boundary"]), f"The clock holds: {told['boundary']}.")
    if isinstance(told.get("kept"), float) and told["kept"] < 1:
        yield f"The verdict is on {100 * told['kept']:.3g} % of the calls, chosen at random; all are in the windows."
    steady = told.get("stability")
    if isinstance(steady, Mapping):
        yield from (str(steady[name]) for name in ("sentence", "note") if steady.get(name))


Show = Callable[[Any], Cell]


def _number(unit: str = "") -> Show:
    return lambda value: number(value, unit=unit and f" {unit}")


def _share(value: Any) -> Cell:
    return Cell(text=f"{100 * value:.3g} %", number=True)


def _leaks(value: Any) -> Cell:
    return text("yes", "bad") if value else text("no", "good")


#: Of each table: the key in the section, how it is called, and how its value is shown.
_Named = tuple[tuple[str, str, Show], ...]
_REQUESTS: _Named = (
    ("requests", "served", _number()),
    ("unserved", "not served", _number()),
    ("elapsed_s", "time it took", _number("s")),
    ("offered_per_s", "requests offered", _number("per s")),
    ("achieved_per_s", "requests served", _number("per s")),
    ("achieved_items_per_s", "items served", _number("per s")),
    ("capacity_per_s", "requests that could be served", _number("per s")),
    ("utilization", "the workers were busy for", _share),
    ("longest_queue", "longest queue", _number()),
    ("requests_that_share_a_queue", "requests in a row that share a queue", _number()),
    ("slowest_call_ms", "slowest call", _number("ms")),
)
_ASKED: _Named = (
    ("qps", "requests asked for", _number("per s")),
    ("duration_s", "for how long", _number("s")),
    ("batch", "items in a request", _number()),
    ("streams", "streams", _number()),
    ("workers", "workers", _number()),
    ("seed", "seed", _number()),
)
_MEMORY: _Named = (
    ("mb_per_1000_calls", "growth per 1000 calls", _number("MB")),
    ("over_mb", "growth after the first quarter", _number("MB")),
    ("peak_mb", "peak", _number("MB")),
    ("leaks", "leaks", _leaks),
)
_DRIFT: _Named = (
    ("change", "change over the run", _share),
    ("tau", "Kendall's tau", _number()),
    ("p_value", "p", _number()),
    ("drifts", "drifts", lambda value: text("yes", "warn") if value else text("no", "good")),
)
_THROTTLING: _Named = (
    ("thermal_events", "cores slowed down by heat, times", _number()),
    ("quota_ms", "without quota (cgroup)", _number("ms")),
)


def _pairs(title: str, told: Any, named: _Named) -> Table:
    """A row for each number that is known."""
    values = told if isinstance(told, Mapping) else {}
    rows = [(name, show(values[key])) for key, name, show in named if values.get(key) is not None]
    return pairs(rows, title, brief=True)


def _without_repeats(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Items are told where a request holds more than one."""
    same = told.get("achieved_items_per_s") == told.get("achieved_per_s")
    return {key: value for key, value in told.items() if not (same and key == "achieved_items_per_s")}


def _times(told: Any) -> Table:
    """Where the time of a request goes."""
    rows = [r for r in told or () if isinstance(r, Mapping)]
    cells = tuple((text(r.get("time")), *(number(r.get(p)) for p in _PERCENTS)) for r in rows)
    return Table(
        columns=("time", *map(_heading, _PERCENTS)), rows=cells, title="Where a request's time goes", brief=True
    )


def _windows(title: str, told: Any, *, folded: bool) -> Table:
    rows = [r for r in told or () if isinstance(r, Mapping)]
    names = tuple(dict.fromkeys(str(name) for r in rows for name in r))
    cells = tuple(tuple(_window_cell(name, r.get(name)) for name in names) for r in rows)
    return Table(columns=tuple(map(_heading, names)), rows=cells, title=title, brief=not folded, folded=folded)


def _window_cell(name: str, value: Any) -> Cell:
    counted = name in ("calls", "requests") and isinstance(value, float) and value.is_integer()
    return number(int(value) if counted else value)


def _course(told: Mapping[str, Any]) -> str:
    shown = told.get("windows_shown")
    return f"Course ({shown} windows)" if shown else "Course"


def _heading(name: str) -> str:
    """`p50_ms` as `p50 ms`, `at_s` as `at s`, `rss_mb` as `memory MB`."""
    return {"rss_mb": "memory MB", "max_ms": "worst ms"}.get(name, name.replace("_", " "))
