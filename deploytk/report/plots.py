"""The figures of a report as SVG text, drawn with matplotlib, which is imported in the files plots*.py only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from deploytk.report import Report
from deploytk.report.plots_bench import latency, parts, throughput
from deploytk.report.plots_pareto import pareto
from deploytk.report.plots_samples import ecdf
from deploytk.report.plots_style import PALETTE, STYLE, svg
from deploytk.report.plots_time import load, memory, timeline


def figures(report: Report) -> dict[str, str]:
    """The SVG of each figure the report has data for, by name."""
    with mpl.rc_context(STYLE):
        drawn = {name: draw(report) for name, draw in _FIGURES.items()}
        return {name: svg(figure) for name, figure in drawn.items() if figure is not None}


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
    "pareto": pareto,
    "latency": latency,
    "throughput": throughput,
    "ecdf": ecdf,
    "timeline": timeline,
    "memory": memory,
    "parts": parts,
    "load": load,
    "training": training,
    "cycles": cycles,
}


def _numeric(values: Sequence[Any]) -> bool:
    return any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _curves(axes: Axes, title: str, group: Mapping[str, Sequence[Any]]) -> None:
    for number, (name, values) in enumerate(group.items()):
        told = [v if isinstance(v, int | float) else math.nan for v in values]
        axes.plot(range(1, len(told) + 1), told, color=PALETTE[number % len(PALETTE)], label=name, linewidth=1.5)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.legend(fontsize=8)
