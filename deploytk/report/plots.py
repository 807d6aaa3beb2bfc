"""The figures of a report as SVG text, drawn with matplotlib, which is imported here only.

Colours of text, grid and budget are written as CSS variables, so that a figure follows the page into dark mode and
onto paper. What was estimated is drawn hollow, what was measured filled.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from deploytk.budget import Budget
from deploytk.report import Report
from deploytk.report.points import Point, points

#: Stand-ins that no palette has -> what the page's style sheet decides.
_INK, _GRID, _BUDGET = "#010203", "#040506", "#070809"
_VARIABLES = {_INK: "var(--ink)", _GRID: "var(--line)", _BUDGET: "var(--bad)"}
#: Readable on white and on near-black.
PALETTE = ("#3b82f6", "#d97706", "#0d9488", "#a855f7", "#db2777", "#65a30d", "#64748b")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "deploytk",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def figures(report: Report) -> dict[str, str]:
    """The SVG of each figure the report has data for, by name."""
    with mpl.rc_context(_STYLE):
        drawn = {name: draw(report) for name, draw in _FIGURES.items()}
        return {name: _svg(figure) for name, figure in drawn.items() if figure is not None}


def latency(report: Report) -> Figure | None:
    """Latency by batch: p95 with markers inside a band from p50 to p99, and the budget."""
    shown = [p for p in points(report) if p.p95_ms or p.judged_ms]
    if not shown:
        return None
    axes = _axes("Latency by batch size", "batch size", "ms per call")
    for name, colour, own in _by_artifact(shown):
        _latency_of(axes, name, colour, own)
    _failures(axes, points(report))
    _budget_line(axes, report.budget, sorted({p.batch for p in shown}))
    _batch_axis(axes, points(report))
    _readable_scale(axes, [v for p in shown for v in (p.p50_ms, p.p95_ms, p.p99_ms, p.judged_ms) if v])
    return _with_legend(axes)


def throughput(report: Report) -> Figure | None:
    """Items per second by batch."""
    shown = [p for p in points(report) if p.items_per_second]
    if not shown:
        return None
    axes = _axes("Throughput by batch size", "batch size", "items per second")
    for name, colour, own in _by_artifact(shown):
        for estimated, group in _by_kind(own):
            label = f"{name} (estimated)" if estimated else name
            values = [p.items_per_second or math.nan for p in group]
            axes.plot([p.batch for p in group], values, label=label, **_look(colour, estimated))
    _batch_axis(axes, shown)
    axes.set_ylim(bottom=0)
    return _with_legend(axes)


def ecdf(report: Report) -> Figure | None:
    """The share of calls that took at most so long, one panel per artifact, one line per batch."""
    sampled = [p for p in points(report) if len(p.samples_ms) > 1 and not p.estimated]
    names = list(dict.fromkeys(p.artifact for p in sampled))
    if not names:
        return None
    size = (10.4 if len(names) > 1 else 5.2, 3.2 * math.ceil(len(names) / 2))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(math.ceil(len(names) / 2), min(2, len(names)), squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        _ecdf_of(axes, name, [p for p in sampled if p.artifact == name], report.budget)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    return figure


def training(report: Report) -> Figure | None:
    """Losses and metrics by epoch."""
    told = report.sections.get("train")
    epochs = told.get("epochs") if isinstance(told, Mapping) else None
    rows = [row for row in epochs if isinstance(row, Mapping)] if isinstance(epochs, list | tuple) else []
    curves = {key: [row.get(key) for row in rows] for key in (rows[0] if len(rows) > 1 else ())}
    losses = {k: v for k, v in curves.items() if "loss" in k.lower() and _numeric(v)}
    wanted = ("map", "precision", "recall", "accuracy")
    metrics = {k: v for k, v in curves.items() if any(w in k.lower() for w in wanted) and _numeric(v)}
    groups = [(title, group) for title, group in (("Losses", losses), ("Metrics", metrics)) if group]
    if not groups:
        return None
    figure = Figure(figsize=(5.2 * len(groups), 3.2), layout="constrained")
    for axes, (title, group) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        _curves(axes, title, group)
    return figure


def cycles(report: Report) -> Figure | None:
    """The 15 operators with the most cycles on the NPU."""
    npu = report.sections.get("npu")
    ops = [op for op in npu.get("ops") or () if isinstance(op, Mapping)] if isinstance(npu, Mapping) else []
    top = sorted((op for op in ops if op.get("cycles")), key=lambda op: -op["cycles"])[:15]
    if not top:
        return None
    total = sum(op.get("cycles") or 0 for op in ops)
    figure = Figure(figsize=(8.0, 0.7 + 0.24 * len(top)), layout="constrained")
    axes = figure.subplots()
    labels = [f"{op.get('index', '')} {op.get('op', '')}".strip() for op in top]
    places = range(len(top))
    axes.barh(places, [op["cycles"] for op in top], color="none", edgecolor=PALETTE[0], hatch="////", linewidth=1)
    for place, op in zip(places, top, strict=True):
        share = f"{100 * op['cycles'] / total:.1f} %"
        axes.annotate(share, (op["cycles"], place), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    axes.set_title(f"NPU cycles by operator: the top {len(top)} of {len(ops)} (estimated)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure


_FIGURES: dict[str, Callable[[Report], Figure | None]] = {
    "latency": latency,
    "throughput": throughput,
    "ecdf": ecdf,
    "training": training,
    "cycles": cycles,
}


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element, the same for the same data."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    told = out.getvalue()
    told = told[told.index("<svg") :]
    for stand_in, variable in _VARIABLES.items():
        told = told.replace(stand_in, variable)
    return told


def _axes(title: str, x: str, y: str) -> Axes:
    axes = Figure(figsize=(5.2, 3.3), layout="constrained").subplots()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _with_legend(axes: Axes) -> Figure:
    """The figure, its legend below the axes, where it covers nothing."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    handles, labels = axes.get_legend_handles_labels()
    figure.set_figheight(3.3 + 0.18 * len(labels))
    figure.legend(handles, labels, loc="outside lower left")
    return figure


def _by_artifact(shown: Sequence[Point]) -> Iterator[tuple[str, str, list[Point]]]:
    for number, name in enumerate(dict.fromkeys(p.artifact for p in shown)):
        yield name, PALETTE[number % len(PALETTE)], [p for p in shown if p.artifact == name]


def _by_kind(shown: Sequence[Point]) -> Iterator[tuple[bool, list[Point]]]:
    for estimated in (False, True):
        group = [p for p in shown if p.estimated is estimated]
        if group:
            yield estimated, group


def _look(colour: str, estimated: bool) -> dict[str, Any]:
    if estimated:
        return {"color": colour, "marker": "D", "markerfacecolor": "none", "markersize": 8, "linestyle": ":"}
    return {"color": colour, "marker": "o", "markersize": 4.5}


def _latency_of(axes: Axes, name: str, colour: str, own: Sequence[Point]) -> None:
    for estimated, group in _by_kind(own):
        batches = [p.batch for p in group]
        if estimated:
            axes.plot(
                batches, [p.judged_ms or math.nan for p in group], label=f"{name} (estimated)", **_look(colour, True)
            )
            continue
        axes.plot(
            batches,
            [p.p95_ms or math.nan for p in group],
            label=f"{name}: p95, band p50 to p99",
            **_look(colour, False),
        )
        low, high = ([getattr(p, key) or math.nan for p in group] for key in ("p50_ms", "p99_ms"))
        axes.fill_between(batches, low, high, color=colour, alpha=0.18, linewidth=0)
        for edge, style in ((low, "-"), (high, ":")):
            axes.plot(batches, edge, color=colour, linewidth=0.9, linestyle=style)


def _failures(axes: Axes, found: Sequence[Point]) -> None:
    """A cross at the top for each batch size that broke."""
    broken = [p for p in found if p.status not in ("ok", "not_run")]
    for point in broken:
        place = axes.get_xaxis_transform()
        axes.plot([point.batch], [0.96], marker="x", markersize=8, color=_BUDGET, linestyle="", transform=place)
        told = point.status.replace("_", " ")
        axes.text(point.batch, 0.9, told, ha="center", va="top", color=_BUDGET, fontsize=8.5, transform=place)


def _budget_line(axes: Axes, budget: Budget | None, batches: Sequence[int]) -> None:
    if budget is None:
        return
    label = f"budget: p{budget.percentile:g} under {budget.latency_ms:g} ms"
    look: dict[str, Any] = {"color": _BUDGET, "linestyle": "--", "linewidth": 1.4}
    if budget.per == "batch":
        axes.axhline(budget.latency_ms, label=label, **look)
    else:
        axes.plot(batches, [budget.latency_ms * b for b in batches], label=f"{label} per item", **look)


def _batch_axis(axes: Axes, shown: Sequence[Point]) -> None:
    batches = sorted({p.batch for p in shown})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(b) for b in batches])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(batches[0] / 1.3, batches[-1] * 1.3)


def _readable_scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values span more than a factor of 20, from zero where not."""
    if max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0)


def _ecdf_of(axes: Axes, name: str, own: Sequence[Point], budget: Budget | None) -> None:
    for number, point in enumerate(own):
        per = point.batch if budget is not None and budget.per == "item" else 1
        ordered = sorted(s / per for s in point.samples_ms)
        shares = [(rank + 1) / len(ordered) for rank in range(len(ordered))]
        colour = PALETTE[number % len(PALETTE)]
        axes.step(ordered, shares, where="post", color=colour, linewidth=1.5)
        # Labels on the curves, each at another height, need no legend that would cover them.
        height = 0.15 + 0.6 * number / max(1, len(own) - 1)
        place = (ordered[int(height * len(ordered))], height)
        look: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 8, "color": colour}
        axes.annotate(f"batch {point.batch}", place, (-3, 0), textcoords="offset points", **look)
    if budget is not None:
        axes.axvline(budget.latency_ms, color=_BUDGET, linestyle="--", linewidth=1.4)
        axes.axhline(budget.percentile / 100, color=_BUDGET, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"Share of calls within a time: {name}")
    axes.set_xlabel("ms per item" if budget is not None and budget.per == "item" else "ms per call")
    axes.set_ylabel("share of calls")
    axes.set_ylim(0, 1.02)


def _numeric(values: Sequence[Any]) -> bool:
    return any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _curves(axes: Axes, title: str, group: Mapping[str, Sequence[Any]]) -> None:
    for number, (name, values) in enumerate(group.items()):
        told = [v if isinstance(v, int | float) else math.nan for v in values]
        axes.plot(range(1, len(told) + 1), told, color=PALETTE[number % len(PALETTE)], label=name, linewidth=1.5)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.legend(fontsize=8)
