"""Figures along time: the samples of a bench, memory, the course of a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploytk.report import Report
from deploytk.report.plots_style import BUDGET, PALETTE, by_series, readable_scale, single_axes, with_legend
from deploytk.report.points import Point, points


def timeline(report: Report) -> Figure | None:
    """Every block by the time it was measured: its median, and a line from its fastest to its slowest call.

    Warm-up calls stand apart on the left.
    """
    shown = [p for p in points(report) if _timed(p)]
    if not shown:
        return None
    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    warm, course = figure.subplots(1, 2, width_ratios=[1, 6], sharey=True)
    several = len({p.series for p in shown}) > 1
    for number, point in enumerate(shown):
        _course(warm, course, point, PALETTE[number % len(PALETTE)], several=several)
    _finish(warm, course, shown, report)
    figure.legend(*course.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return figure


def memory(report: Report) -> Figure | None:
    """Resident memory over time: of a soak's windows, of a bench's blocks where there are none."""
    windows = [w for w in _windows(report) if _known(w.get("rss_mb"))]
    curves = (
        {"process": ([w["at_s"] for w in windows], [w["rss_mb"] for w in windows])} if windows else _of_blocks(report)
    )
    curves = {name: curve for name, curve in curves.items() if len(curve[1]) > 1}
    if not curves:
        return None
    axes = single_axes("Memory over time", "s since the begin", "resident memory, MB")
    for number, (name, (at_s, mb)) in enumerate(curves.items()):
        axes.plot(at_s, mb, color=PALETTE[number % len(PALETTE)], label=name, linewidth=1.4)
    axes.set_ylim(bottom=0)
    return with_legend(axes)


def load(report: Report) -> Figure | None:
    """The course of a load or of a soak: whatever its windows tell in ms, by time."""
    windows = _windows(report)
    names = [n for n in dict.fromkeys(key for w in windows for key in w) if n.endswith("_ms")]
    if len(windows) < 2 or not names:
        return None
    axes = single_axes("Under load, by time", "s since the begin", "ms")
    for number, name in enumerate(names):
        values = [float(w[name]) if _known(w.get(name)) else np.nan for w in windows]
        colour = PALETTE[number % len(PALETTE)]
        axes.plot([w["at_s"] for w in windows], values, color=colour, linewidth=1.3, label=name.removesuffix("_ms"))
    if report.budget is not None:
        axes.axhline(report.budget.latency_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
    told = [float(w[n]) for w in windows for n in names if _known(w.get(n)) and w[n] > 0]
    readable_scale(axes, told or [1.0])
    return with_legend(axes)


def _timed(p: Point) -> bool:
    return bool(p.blocks_ms) and p.measurement is not None and len(p.measurement.block_at_s) == len(p.blocks_ms)


def _course(warm: Axes, course: Axes, point: Point, colour: str, *, several: bool) -> None:
    measurement, blocks = point.measurement, point.blocks_ms
    assert measurement
    label = f"{point.series}, batch {point.batch}" if several else f"batch {point.batch}"
    at_s = measurement.block_at_s
    course.vlines(at_s, list(map(min, blocks)), list(map(max, blocks)), color=colour, alpha=0.35, linewidth=1)
    course.plot(at_s, [float(np.median(b)) for b in blocks], ".", color=colour, markersize=4, label=label)
    warm.plot(range(1, len(measurement.warmup_ms) + 1), measurement.warmup_ms, ".-", color=colour, linewidth=0.7)


def _finish(warm: Axes, course: Axes, shown: Sequence[Point], report: Report) -> None:
    warm.set_title("Warm-up calls", loc="left")
    warm.set_ylabel("ms per call")
    warm.set_xlabel("number")
    course.set_title("Samples by time: block medians, lines from the fastest to the slowest call")
    course.set_xlabel("s since the bench began")
    if report.budget is not None and report.budget.per == "batch":
        course.axhline(report.budget.latency_ms, color=BUDGET, linestyle="--", linewidth=1.2, label="budget")
    values = [s for p in shown if p.measurement for s in (*p.samples_ms, *p.measurement.warmup_ms) if s > 0]
    readable_scale(warm, values)


def _windows(report: Report) -> list[Mapping[str, Any]]:
    told = report.sections.get("load")
    found = told.get("windows") if isinstance(told, Mapping) else None
    return [w for w in found or () if isinstance(w, Mapping) and _known(w.get("at_s"))]


def _of_blocks(report: Report) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    found: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name, _, own in by_series(points(report)):
        for p in own:
            m = p.measurement
            if m and m.block_rss_mb and len(m.block_rss_mb) == len(m.block_at_s):
                found[f"{name}, batch {p.batch}"] = (m.block_at_s, m.block_rss_mb)
    return found


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
