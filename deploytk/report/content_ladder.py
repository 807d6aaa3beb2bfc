"""What the report says about INT8: every model that was tried, what came of it, and which layers it keeps in float."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, text
from deploytk.report.content_diff import interval

_TONES: dict[str, Tone] = {"met": "good", "dropped": "bad", "slower": "bad", "refused": "bad", "failed": "bad"}


def ladder_block(report: Report) -> list[Block]:
    """The attempts at an INT8 model, the one taken last; below them the layers that lose most by INT8."""
    told = report.sections.get("ladder")
    if not isinstance(told, Mapping) or not told.get("attempts"):
        return []
    tables = (_attempts(told), *_layers(told.get("sensitivities") or ()))
    return [Block(name="ladder", title="INT8, tried in order", lines=tuple(_lines(told)), brief_lines=1, tables=tables)]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    met = [a for a in told["attempts"] if a.get("outcome") == "met"]
    yield f"Taken: {met[0]['what']}." if met else "None was good enough: the float model stays what it was."
    allowed = f"{100 * told['max_drop']:.3g} of its points may be lost"
    yield f"{told['metric']} of the trained model: {told['source']:.3f}; {allowed}."
    yield "Times are of batch 1, measured in turns with the float model on this machine."
    calibration = told["calibration"]
    yield f"Calibrated on {calibration['images']} images, set {calibration['sha256'][:12]}."
    for attempt in told["attempts"]:
        nodes = attempt["recipe"]["float_nodes"]
        if nodes:
            yield f"{attempt['what']}: {', '.join(nodes)}."
        if attempt["speed"].get("note"):
            yield f"{attempt['what']}: while it was timed: {attempt['speed']['note']}"


def _attempts(told: Mapping[str, Any]) -> Table:
    columns = ("tried", "outcome", told["metric"], "points lost", "float ms", "ms", "times as long", "interval", "size")
    rows = tuple(_attempt(a) for a in told["attempts"])
    spare = ("why", "seconds", "float ms", "interval", "size")  # the verdict's reasons tell why
    return Table(columns=(*columns, "seconds", "why"), rows=rows, brief=True, spare=spare)


def _attempt(told: Mapping[str, Any]) -> tuple[Cell, ...]:
    speed, drop, size = told["speed"], told["drop"], told["size_bytes"]
    ratio = speed.get("ratio")
    return (
        text(told["what"]),
        text(told["outcome"], _TONES.get(told["outcome"], "")),
        number(told["metric"]),
        Cell(text="–" if drop is None else f"{100 * drop:.1f}", number=True),
        number(speed.get("float_ms")),
        number(speed.get("ms")),
        Cell(text="–" if ratio is None else f"{ratio:.3f}", number=True),
        interval(speed),
        text(None) if size is None else number(size / 1e6, unit=" MB"),
        number(told["seconds"]),
        text(told["reason"]),
    )


def _layers(layers: Any) -> list[Table]:
    rows = tuple((text(row["node"]), text(row["op"]), number(row["sqnr_db"])) for row in layers)
    title = "What the outputs keep (signal over noise) where one layer alone is INT8, the worst first"
    return [Table(columns=("layer", "operator", "SQNR, dB"), rows=rows, title=title, folded=True)] if rows else []
