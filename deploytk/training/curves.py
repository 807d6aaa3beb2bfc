"""The curves of a training as a picture: losses, metrics, learning rate, and what happened on the way (Matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deploytk.files import written_whole
from deploytk.training.story import Mark, number, whole

_COLOURS = {"rollback": "tab:red", "out of memory": "tab:purple", "resize": "tab:green", "tried again": "tab:orange"}
#: Beyond it a number is no longer a loss; drawn, it would only overflow the axis.
_LARGEST = 1e30

Points = list[tuple[int, float]]


def draw(
    path: Path, rows: Sequence[Mapping[str, Any]], marks: Sequence[Mark], milestones: Sequence[Mapping[str, Any]]
) -> None:
    """Write the picture.

    Args:
        rows: of each epoch `epoch`, `losses`, `metrics` and `lr`; what is no finite number is left out.
    """
    figure = Figure(figsize=(14, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    losses, metrics = _groups(rows)
    _lines(left, losses, "losses")
    _lines(middle, metrics, "validation metrics")
    _lines(right, {"lr": _points(rows, lambda row: row.get("lr"))}, "learning rate")
    if losses and all(value > 0 for points in losses.values() for _, value in points):
        left.set_yscale("log")  # one bad epoch would flatten all others
    for axes in (left, middle, right):
        _mark(axes, marks)
    _stones(middle, milestones)
    for axes in (left, middle, right):
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="x-small")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _groups(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Points], dict[str, Points]]:
    """(losses of training and validation, metrics) by name."""
    losses = _series(rows, "losses")
    metrics = _series(rows, "metrics")
    of_validation = {name: points for name, points in metrics.items() if "loss" in name.lower()}
    return {**losses, **of_validation}, {name: p for name, p in metrics.items() if name not in of_validation}


def _series(rows: Sequence[Mapping[str, Any]], group: str) -> dict[str, Points]:
    told = [row.get(group) for row in rows]
    names = dict.fromkeys(str(name) for values in told if isinstance(values, Mapping) for name in values)
    found = {name: _points(rows, lambda row, name=name: _within(row.get(group), name)) for name in names}
    return {name: points for name, points in found.items() if points}


def _within(values: Any, name: str) -> Any:
    return values.get(name) if isinstance(values, Mapping) else None


def _points(rows: Sequence[Mapping[str, Any]], value_of: Any) -> Points:
    told = [(whole(row.get("epoch")), number(value_of(row))) for row in rows]
    return sorted((e, v) for e, v in told if e is not None and v is not None and abs(v) < _LARGEST)


def _lines(axes: Axes, curves: Mapping[str, Points], title: str) -> None:
    for name, points in curves.items():
        style = "--" if name.startswith("val") else "-"
        # A name that begins with _ would not come into the legend, a $ would be read as mathematics.
        label = name.lstrip("_").replace("$", r"\$") or "unnamed"
        axes.plot([e for e, _ in points], [v for _, v in points], style, marker=".", label=label)
    axes.set(xlabel="epoch", title=title)
    axes.grid(alpha=0.3)


def _mark(axes: Axes, marks: Sequence[Mark]) -> None:
    for kind in dict.fromkeys(mark.kind for mark in marks):
        for first, mark in enumerate(m for m in marks if m.kind == kind):
            label = kind if first == 0 else None
            axes.axvline(mark.epoch - 0.5, color=_COLOURS.get(kind, "tab:gray"), linestyle=":", label=label)


def _stones(axes: Axes, milestones: Sequence[Mapping[str, Any]]) -> None:
    for stone in milestones:
        epoch, least = whole(stone.get("epoch")), number(stone.get("at_least"))
        if epoch is not None and least is not None and abs(least) < _LARGEST:
            axes.plot([epoch], [least], "^", color="tab:green" if stone.get("met") is True else "tab:red")
