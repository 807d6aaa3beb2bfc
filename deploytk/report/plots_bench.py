"""Figures of a bench by batch size: latency, throughput with its knee and ties, the parts of an end-to-end call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from deploytk.budget import Budget
from deploytk.report import Report
from deploytk.report.plots_style import (
    BUDGET,
    INK,
    PALETTE,
    by_kind,
    by_series,
    look,
    readable_scale,
    single_axes,
    with_legend,
)
from deploytk.report.points import Point, points


def latency(report: Report) -> Figure | None:
    """Latency by batch: the judged percentile with markers inside a band from p50 to p99, and the budget."""
    shown = [p for p in points(report) if p.p95_ms or p.judged_ms]
    if not shown:
        return None
    axes = single_axes("Latency by batch size", "batch size", "ms per call")
    for name, colour, own in by_series(shown):
        _latency_of(axes, name, colour, own, report.budget)
    _screened(axes, [(p.batch, _judged(p, report.budget)) for p in shown if not p.refined])
    _failures(axes, points(report))
    _budget_line(axes, report.budget, sorted({p.batch for p in shown}))
    _mark_best(axes, report)
    _batch_axis(axes, points(report))
    readable_scale(axes, [v for p in shown for v in (p.p50_ms, p.p95_ms, p.p99_ms, p.judged_ms) if v])
    return with_legend(axes)


def throughput(report: Report) -> Figure | None:
    """Items per second by batch, with the knee and the batch sizes that cannot be told from the best."""
    shown = [p for p in points(report) if p.items_per_second]
    if not shown:
        return None
    axes = single_axes("Throughput by batch size", "batch size", "items per second")
    for name, colour, own in by_series(shown):
        for estimated, group in by_kind(own):
            label = f"{name} (estimated)" if estimated else name
            values = [p.items_per_second or math.nan for p in group]
            axes.plot([p.batch for p in group], values, label=label, **look(colour, estimated))
    _screened(axes, [(p.batch, p.items_per_second) for p in shown if not p.refined])
    tied = _section(report).get("tied") or ()
    _rings(axes, [(p.batch, p.items_per_second or math.nan) for p in shown if p.batch in tied and len(tied) > 1])
    _mark_best(axes, report)
    _batch_axis(axes, shown)
    axes.set_ylim(bottom=0)
    return with_legend(axes)


def parts(report: Report) -> Figure | None:
    """Where the time of an end-to-end call goes: the median of each part, one bar for each point."""
    shown = [p for p in points(report) if p.split]
    names = list(dict.fromkeys(name for p in shown for name in p.split))
    if len(names) < 2:  # one part, as a GPU's own time, is no split
        return None
    axes = single_axes("Where the time goes, end to end (median of each part)", "ms per call", "")
    starts = [0.0] * len(shown)
    for number, name in enumerate(names):
        widths = [p.split.get(name, 0.0) for p in shown]
        axes.barh(range(len(shown)), widths, left=starts, color=PALETTE[number % len(PALETTE)], label=name, height=0.6)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    several = len({p.series for p in shown}) > 1
    labels = [f"{p.series}, batch {p.batch}" if several else f"batch {p.batch}" for p in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    return with_legend(axes)


def _section(report: Report) -> Mapping[str, Any]:
    """The bench section; what it says of the best batch holds where there is one series only."""
    told = report.sections.get("bench")
    one = len({p.series for p in points(report)}) == 1
    return told if isinstance(told, Mapping) and one else {}


def _screened(axes: Axes, places: Sequence[tuple[int, float | None]]) -> None:
    """A pale square over each point that was only screened."""
    known = [(batch, value) for batch, value in places if value]
    if known:
        batches, values = zip(*known, strict=True)
        axes.plot(batches, values, "s", markersize=6, color=INK, alpha=0.35, label="only screened")


def _rings(axes: Axes, places: Sequence[tuple[int, float]]) -> None:
    if places:
        batches, values = zip(*places, strict=True)
        ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "color": INK, "markeredgewidth": 1.1}
        axes.plot(batches, values, "o", label="cannot be told from the best", **ring)


def _mark_best(axes: Axes, report: Report) -> None:
    """A line at the knee, one at the largest batch within the budget."""
    told = _section(report)
    for key, label, style in (("knee_batch", "knee", ":"), ("best_batch", "largest within the budget", "-.")):
        if told.get(key):
            axes.axvline(told[key], color=INK, linestyle=style, linewidth=1, alpha=0.6, label=f"{label}: {told[key]}")


def _judged(p: Point, budget: Budget | None) -> float:
    """The percentile that the budget judges, p95 without one."""
    other = budget is not None and budget.percentile != 95
    return (p.judged_ms if other or not p.p95_ms else p.p95_ms) or p.p95_ms or math.nan


def _latency_of(axes: Axes, name: str, colour: str, own: Sequence[Point], budget: Budget | None) -> None:
    percent = budget.percentile if budget else 95
    for estimated, group in by_kind(own):
        batches, values = [p.batch for p in group], [_judged(p, budget) for p in group]
        if estimated:
            axes.plot(batches, values, label=f"{name} (estimated)", **look(colour, True))
            continue
        axes.plot(batches, values, label=f"{name}: p{percent:g}, band p50 to p99", **look(colour, False))
        low, high = ([getattr(p, key) or math.nan for p in group] for key in ("p50_ms", "p99_ms"))
        axes.fill_between(batches, low, high, color=colour, alpha=0.18, linewidth=0)
        for edge, style in ((low, "-"), (high, ":")):
            axes.plot(batches, edge, color=colour, linewidth=0.9, linestyle=style)


def _failures(axes: Axes, found: Sequence[Point]) -> None:
    """A cross at the top for each batch size that broke."""
    broken = [p for p in found if p.status not in ("ok", "not_run")]
    for point in broken:
        place = axes.get_xaxis_transform()
        axes.plot([point.batch], [0.96], marker="x", markersize=8, color=BUDGET, linestyle="", transform=place)
        told = point.status.replace("_", " ")
        axes.text(point.batch, 0.9, told, ha="center", va="top", color=BUDGET, fontsize=8.5, transform=place)


def _budget_line(axes: Axes, budget: Budget | None, batches: Sequence[int]) -> None:
    if budget is None:
        return
    label = f"budget: p{budget.percentile:g} under {budget.latency_ms:g} ms"
    dashed: dict[str, Any] = {"color": BUDGET, "linestyle": "--", "linewidth": 1.4}
    if budget.per == "batch":
        axes.axhline(budget.latency_ms, label=label, **dashed)
    else:
        axes.plot(batches, [budget.latency_ms * b for b in batches], label=f"{label} per item", **dashed)


def _batch_axis(axes: Axes, shown: Sequence[Point]) -> None:
    batches = sorted({p.batch for p in shown})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, _apart(batches))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(batches[0] / 1.3, batches[-1] * 1.3)


def _apart(batches: Sequence[int]) -> list[str]:
    """The labels of the batch sizes, empty where one would stand on another; the largest always has its own."""
    told: list[str] = []
    last = 0
    for batch in batches:
        fits = batch >= 1.25 * last and 1.25 * batch <= batches[-1]
        told.append(str(batch) if fits or batch == batches[-1] else "")
        last = batch if told[-1] else last
    return told
