"""What all figures share: colours that follow the page, how measured and estimated look, axes, SVG text.

Colours of text, grid and budget are written as CSS variables, so that a figure follows the page into dark mode and
onto paper. What was estimated is drawn hollow, what was measured filled, what was only screened pale.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from deploytk.report.points import Point

#: Stand-ins that no palette has -> what the page's style sheet decides.
INK, GRID, BUDGET = "#010203", "#040506", "#070809"
_VARIABLES = {INK: "var(--ink)", GRID: "var(--line)", BUDGET: "var(--bad)"}
#: Readable on white and on near-black.
PALETTE = ("#3b82f6", "#d97706", "#0d9488", "#a855f7", "#db2777", "#65a30d", "#64748b")
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "deploytk",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
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


def svg(figure: Figure) -> str:
    """The figure as an <svg> element, the same for the same data."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    told = out.getvalue()
    told = told[told.index("<svg") :]
    for stand_in, variable in _VARIABLES.items():
        told = told.replace(stand_in, variable)
    return told


def single_axes(title: str, x: str, y: str) -> Axes:
    """The axes of a figure of its own."""
    axes = Figure(figsize=(5.2, 3.3), layout="constrained").subplots()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def with_legend(axes: Axes) -> Figure:
    """The figure, its legend below the axes, where it covers nothing."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    handles, labels = axes.get_legend_handles_labels()
    figure.set_figheight(3.3 + 0.18 * len(labels))
    figure.legend(handles, labels, loc="outside lower left")
    return figure


def by_series(shown: Sequence[Point]) -> Iterator[tuple[str, str, list[Point]]]:
    """Name, colour and points of each series."""
    for number, name in enumerate(dict.fromkeys(p.series for p in shown)):
        yield name, PALETTE[number % len(PALETTE)], [p for p in shown if p.series == name]


def by_kind(shown: Sequence[Point]) -> Iterator[tuple[bool, list[Point]]]:
    """(estimated or not, its points)."""
    for estimated in (False, True):
        group = [p for p in shown if p.estimated is estimated]
        if group:
            yield estimated, group


def look(colour: str, estimated: bool) -> dict[str, Any]:
    """How a line of measurements or of estimates is drawn."""
    if estimated:
        return {"color": colour, "marker": "D", "markerfacecolor": "none", "markersize": 8, "linestyle": ":"}
    return {"color": colour, "marker": "o", "markersize": 4.5}


def readable_scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values span more than a factor of 20, from zero where not."""
    if max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0)
