"""Figures of the samples themselves: the share of calls done within a time, and how sure that share is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import special

from deploytk.budget import Budget
from deploytk.ratio import effective
from deploytk.report import Report
from deploytk.report.plots_style import BUDGET, PALETTE
from deploytk.report.points import Point, points

#: With fewer samples a band says nothing that the line does not.
_ENOUGH = 20


def ecdf(report: Report) -> Figure | None:
    """The share of calls that took at most so long, one panel per series, one line per batch, each in its band."""
    sampled = [p for p in points(report) if len(p.samples_ms) > 1 and not p.estimated]
    names = list(dict.fromkeys(p.series for p in sampled))
    if not names:
        return None
    size = (10.4 if len(names) > 1 else 5.2, 3.2 * math.ceil(len(names) / 2))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(math.ceil(len(names) / 2), min(2, len(names)), squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        _panel(axes, name, [p for p in sampled if p.series == name], report.budget)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    return figure


def band(
    samples: np.ndarray, counts: Sequence[int], percent: float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of the share of calls done by each sample (in rising order), each at this confidence.

    Clopper and Pearson's bounds at every point, for the effective number of samples at the percentile that is judged:
    alike neighbours count less (`ratio.effective`). Where the upper edge stays below the judged share at the budget's
    line, or the lower edge above it, that is what the verdict says.
    """
    count = effective(samples, counts, percent)
    shares = np.arange(1, samples.size + 1) / samples.size
    done, alpha = shares * count, 1.0 - confidence
    lower = special.betaincinv(done, count - done + 1, alpha)
    upper = np.ones_like(shares)
    upper[:-1] = special.betaincinv(done[:-1] + 1, count - done[:-1], 1 - alpha)
    return lower, upper


def _panel(axes: Axes, name: str, own: Sequence[Point], budget: Budget | None) -> None:
    for number, point in enumerate(own):
        _line(axes, point, PALETTE[number % len(PALETTE)], number / max(1, len(own) - 1), budget)
    if budget is not None:
        axes.axvline(budget.latency_ms, color=BUDGET, linestyle="--", linewidth=1.4)
        axes.axhline(budget.percentile / 100, color=BUDGET, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"Share of calls within a time: {name}")
    axes.set_xlabel("ms per item" if budget is not None and budget.per == "item" else "ms per call")
    axes.set_ylabel(f"share of calls; band: {100 * (budget.confidence if budget else 0.95):g} % confidence")
    axes.set_ylim(0, 1.02)


def _line(axes: Axes, point: Point, colour: str, place: float, budget: Budget | None) -> None:
    per = point.batch if budget is not None and budget.per == "item" else 1
    samples = np.asarray(point.samples_ms) / per
    ordered = np.sort(samples)
    shares = np.arange(1, ordered.size + 1) / ordered.size
    axes.step(ordered, shares, where="post", color=colour, linewidth=1.5, alpha=1.0 if point.refined else 0.45)
    if ordered.size >= _ENOUGH:
        counts = [len(block) for block in point.blocks_ms]
        percent, confidence = (budget.percentile, budget.confidence) if budget else (95.0, 0.95)
        low, high = band(samples, counts, percent, confidence)
        axes.fill_between(ordered, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    # Labels on the curves, each at another height, need no legend that would cover them.
    height = 0.15 + 0.6 * place
    look: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 8, "color": colour}
    at = (float(ordered[int(height * ordered.size)]), height)
    axes.annotate(f"batch {point.batch}", at, (-3, 0), textcoords="offset points", **look)
