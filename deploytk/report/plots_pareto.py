"""The figure of a search: latency against accuracy, the chosen one marked, what is out drawn pale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploytk.report import Report
from deploytk.report.plots_style import BUDGET, INK, PALETTE, single_axes, with_legend

#: What is out although its numbers are known.
_OUT = frozenset({"over budget", "lost accuracy", "too slow", "refused", "not tried"})


def pareto(report: Report) -> Figure | None:
    """One mark for each candidate whose time and accuracy are known: filled where measured, hollow where estimated."""
    told = report.sections.get("optimize")
    rows = told.get("rows") or () if isinstance(told, Mapping) else ()
    shown = [(row, place) for row in rows if (place := _place(row))]
    if not isinstance(told, Mapping) or not shown:
        return None
    axes = single_axes("Latency against accuracy", "ms per item", str(told["metric"]))
    for target in dict.fromkeys(row["target"] for row, _ in shown):
        _marks(axes, target, [(row, place) for row, place in shown if row["target"] == target])
    for row, place in shown:
        axes.annotate(_label(row), place, (5, 4), textcoords="offset points", fontsize=7.5, alpha=_alpha(row))
        if row["status"] == "chosen":
            axes.plot(*place, "o", markersize=15, markerfacecolor="none", color=INK, label="chosen", linestyle="none")
    axes.axhline(told["source"] - told["allowed"], color=BUDGET, linestyle="--", label="least accuracy allowed")
    if told["per"] == "item" or all(row["batch"] == 1 for row, _ in shown):
        axes.axvline(told["limit_ms"], color=BUDGET, linestyle=":", label="budget")
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    return with_legend(axes)


def _place(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """(ms per item, metric); of one that was left out after a look, that look's. None where one is not known."""
    ms = row["judged_ms"] or row["attempt_ms"] or row["look_ms"]
    return (ms / row["batch"], row["metric"]) if ms and row["metric"] is not None else None


def _marks(axes: Axes, target: str, group: list[tuple[Mapping[str, Any], tuple[float, float]]]) -> None:
    colour = PALETTE[("onnx", "openvino", "npu").index(target) if target in ("onnx", "openvino", "npu") else -1]
    estimated = any(row["kind"] == "estimated" for row, _ in group)
    label = f"{target} (estimated)" if estimated else target
    for row, place in group:
        face = "none" if row["kind"] == "estimated" else colour
        axes.plot(
            *place,
            "D" if row["kind"] == "estimated" else "o",
            markerfacecolor=face,
            color=colour,
            alpha=_alpha(row),
            label=label,
            linestyle="none",
        )
        label = "_nolegend_"


def _alpha(row: Mapping[str, Any]) -> float:
    return 0.35 if row["status"] in _OUT else 1.0


def _label(row: Mapping[str, Any]) -> str:
    batch = f", batch {row['batch']}" if row["batch"] > 1 else ""
    return f"{row['precision']} {row['imgsz']} px{batch}"
