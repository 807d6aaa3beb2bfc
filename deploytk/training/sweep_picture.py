"""The metric of each learning rate of a sweep as a picture (Matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deploytk.files import written_whole
from deploytk.training.sweep import Point, Recommendation


def draw(path: Path, points: Sequence[Point], found: Recommendation, metric: str) -> None:
    """Write the picture: a line through what was trained, a cross for what diverged or failed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    trained = [(p.lr, p.metric) for p in points if p.became == "trained" and p.metric is not None]
    axes.plot([lr for lr, _ in trained], [value for _, value in trained], "o-", label=metric)
    for became, colour in (("diverged", "tab:red"), ("failed", "tab:gray")):
        at = [p.lr for p in points if p.became == became]
        if at:
            axes.plot(at, [0.0] * len(at), "x", color=colour, markersize=10, label=became, clip_on=False)
    if found.lr is not None:
        axes.axvline(found.lr, color="tab:green", linestyle=":", label=f"recommended: {found.lr:g}")
    axes.set(xscale="log", xlabel="lr0", ylabel=metric, title="learning rate sweep")
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110)
